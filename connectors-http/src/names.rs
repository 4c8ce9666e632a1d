//! Turning names into addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::guard::Guard;

/// Resolves host names, in place of the operating system: see [`HttpStack::with_names`](crate::HttpStack::with_names).
///
/// *Cancellation.* Dropping the future gives the question up. *Errors.* Any means that the name does not resolve.
#[async_trait]
pub trait Names: Send + Sync + 'static {
    /// The addresses of a host, in the order in which they are to be tried.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// As the operating system says.
pub(crate) struct SystemNames;

#[async_trait]
impl Names for SystemNames {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Names as reqwest asks for them, with those addresses left out that a guard forbids. It connects to no other.
pub(crate) struct Resolver {
    pub(crate) names: Arc<dyn Names>,
    pub(crate) guard: Option<Guard>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, guard) = (Arc::clone(&self.names), self.guard.clone());
        Box::pin(async move {
            let mut addresses = names.resolve(name.as_str()).await?;
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no addresses").into());
            }
            if let Some(guard) = guard {
                addresses = guard.permitted(name.as_str(), addresses)?;
            }
            // Port 0 stands for the one of the URL.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;
    use crate::address::Reach;
    use crate::guard::Forbidden;

    struct Says(Mutex<VecDeque<&'static str>>);

    #[async_trait]
    impl Names for Says {
        async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            let next = self.0.lock().unwrap().pop_front();
            Ok(next.map(|address| address.parse().unwrap()).into_iter().collect())
        }
    }

    #[tokio::test]
    async fn a_name_that_is_public_first_and_private_then_is_refused_then() {
        let names = Says(Mutex::new(["8.8.8.8", "127.0.0.1", "::ffff:10.0.0.1"].into()));
        let guard = Guard { reach: Reach::Public, chosen: None };
        let resolver = Resolver { names: Arc::new(names), guard: Some(guard) };
        let ask = async || resolver.resolve("rebound.example".parse().unwrap()).await;
        let first: Vec<SocketAddr> = ask().await.ok().unwrap().collect();
        assert_eq!(first, ["8.8.8.8:0".parse().unwrap()]);
        for _ in 0..2 {
            assert!(ask().await.err().unwrap().is::<Forbidden>());
        }
        // No address at all is an error of its own.
        assert!(ask().await.err().unwrap().is::<io::Error>());
    }
}

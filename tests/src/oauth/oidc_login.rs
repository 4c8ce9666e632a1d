//! A user at the development pages of `oidc-provider`, without a browser: cookies, redirects and forms.

use std::collections::BTreeMap;

use axum::http::Method;
use url::Url;

use super::browser::CallbackParams;
use crate::deadline::soon;
use crate::http_client::{HttpAnswer, HttpRequest};

/// Pages and redirects of one sign-in; more is a loop.
const STEPS: usize = 30;

/// Signs `login` in at the development pages of `oidc-provider` and consents to everything. Panics, with the page's text, if
/// the browser is not sent back to the `redirect_uri` of `authorize_url`.
pub async fn sign_in_at_oidc_provider(authorize_url: &str, login: &str) -> CallbackParams {
    let url = Url::parse(authorize_url).expect("a URL");
    let redirect_uri =
        url.query_pairs().find(|(key, _)| key == "redirect_uri").expect("a redirect URI").1.into_owned();
    match Visitor::new(login).walk(url, Some(&redirect_uri)).await {
        Ok(callback) => CallbackParams::of(callback.as_str()),
        Err(page) => panic!("no redirect to {redirect_uri}, but this page: {page}"),
    }
}

/// Confirms a device's code at the pages of `oidc-provider` as `login`. `verification_uri` is the complete one, with the code. Returns
/// the last page.
pub async fn confirm_device_at_oidc_provider(verification_uri: &str, login: &str) -> String {
    let url = Url::parse(verification_uri).expect("a URL");
    match Visitor::new(login).walk(url, None).await {
        Ok(url) => unreachable!("nobody asked for a redirect to {url}"),
        Err(page) => page,
    }
}

/// A browser with its cookies, and somebody to fill in forms.
struct Visitor {
    login: String,
    /// By path and name.
    cookies: BTreeMap<(String, String), String>,
}

impl Visitor {
    fn new(login: &str) -> Self {
        Self { login: login.to_owned(), cookies: BTreeMap::new() }
    }

    /// Follows redirects and sends forms off until it is sent to `target`, or a page has no form.
    async fn walk(&mut self, mut url: Url, target: Option<&str>) -> Result<Url, String> {
        let mut form: Option<String> = None;
        for _ in 0..STEPS {
            let answer = self.request(&url, form.take()).await;
            let location = answer.header("location").to_owned();
            if (300..400).contains(&answer.status()) {
                url = url.join(&location).expect("a location");
                if target.is_some_and(|target| url.as_str().split('?').next() == Some(target)) {
                    return Ok(url);
                }
                continue;
            }
            let status = answer.status();
            let page = answer.text().await.expect("a whole page");
            let Some((action, fields)) = Form::first(&page).map(|found| found.filled(&self.login)) else {
                return Err(format!("{status} {page}"));
            };
            url = url.join(&action).expect("where the form goes");
            form = Some(fields);
        }
        Err(format!("more than {STEPS} steps"))
    }

    async fn request(&mut self, url: &Url, form: Option<String>) -> HttpAnswer {
        let mut bare = url.clone();
        bare.set_fragment(None);
        let mut request = match form {
            None => HttpRequest::new(Method::GET, bare.as_str()),
            Some(fields) => {
                HttpRequest::post_body(bare.as_str(), "application/x-www-form-urlencoded", fields)
            }
        };
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .filter(|((path, _), _)| url.path().starts_with(path.as_str()))
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request = request.header("cookie", &cookies.join("; "));
        }
        let answer = soon("a page", request.send()).await.expect("an answer");
        for field in answer.headers().get_all("set-cookie") {
            self.keep(field.to_str().expect("an ASCII cookie"));
        }
        answer
    }

    fn keep(&mut self, field: &str) {
        let mut parts = field.split(';').map(str::trim);
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a cookie");
        let path = parts.find_map(|part| {
            part.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case("path")).map(|(_, path)| path)
        });
        let key = (path.unwrap_or("/").to_owned(), name.to_owned());
        if value.is_empty() {
            self.cookies.remove(&key);
        } else {
            self.cookies.insert(key, value.to_owned());
        }
    }
}

/// A form of a page.
struct Form {
    action: String,
    inputs: Vec<(String, String)>,
}

impl Form {
    /// The first form of a page. Knows only as much HTML as those pages are made of.
    fn first(page: &str) -> Option<Self> {
        let (_, rest) = page.split_once("<form ")?;
        let (form, _) = rest.split_once("</form>")?;
        let (tag, content) = form.split_once('>')?;
        let inputs = content.split("<input").skip(1).filter_map(|input| {
            let tag = input.split_once('>').map_or(input, |(tag, _)| tag);
            Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
        });
        Some(Self { action: attribute(tag, "action")?, inputs: inputs.collect() })
    }

    /// Where it goes, and with what.
    fn filled(self, login: &str) -> (String, String) {
        let mut fields = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.inputs {
            let value = if matches!(name.as_str(), "login" | "password") { login.to_owned() } else { value };
            fields.append_pair(&name, &value);
        }
        (self.action, fields.finish())
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    let value = rest.split_once('"')?.0;
    Some(value.replace("&#39;", "'").replace("&quot;", "\"").replace("&amp;", "&"))
}

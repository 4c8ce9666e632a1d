//! `npx mcp-remote URL`: a local program that only hands on to a remote server, which we reach ourselves.

/// Options of `mcp-remote` that make no difference here.
const IDLE: [&str; 5] = ["--allow-http", "--debug", "--silent", "--enable-proxy", "--quiet"];
/// The same, followed by a value.
const IDLE_WITH_VALUE: [&str; 3] = ["--transport", "--host", "--auth-timeout"];

/// Where it leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) notes: Vec<String>,
}

/// `None` for any other command, and for one with options that we would not honour.
pub(super) fn recognise(command: &str, args: &[String]) -> Option<Remote> {
    let mut words = args.iter().map(String::as_str).peekable();
    let mut program = program(command);
    if program == "cmd" {
        words.next().filter(|word| word.eq_ignore_ascii_case("/c"))?;
        program = self::program(words.next()?);
    }
    if !is_package(&program) {
        match program.as_str() {
            "npx" | "bunx" | "pnpx" => {}
            "npm" => _ = words.next().filter(|word| matches!(*word, "exec" | "x"))?,
            "pnpm" | "yarn" => _ = words.next().filter(|word| *word == "dlx")?,
            "bun" => _ = words.next().filter(|word| *word == "x")?,
            _ => return None,
        }
        let package = loop {
            match words.next()? {
                "-y" | "--yes" | "-q" | "--quiet" | "--" | "--bun" | "--prefer-online" => {}
                "-p" | "--package" => _ = words.next()?,
                word if word.starts_with("--package=") => {}
                word => break word,
            }
        };
        is_package(package).then_some(())?;
    }
    let (mut url, mut headers, mut notes, mut has_port) = (None, Vec::new(), Vec::new(), false);
    while let Some(word) = words.next() {
        match word {
            "--header" => {
                let (name, value) = words.next()?.split_once(':')?;
                headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            "--ignore-tool" => {
                words.next()?;
                notes.push("it hides some tools: leave them out when you enable tools".to_owned());
            }
            word if IDLE.contains(&word) => {}
            word if IDLE_WITH_VALUE.contains(&word) => _ = words.next()?,
            word if url.is_none() && !word.starts_with('-') => url = Some(word.to_owned()),
            word if !has_port && word.parse::<u16>().is_ok() => has_port = true,
            _ => return None,
        }
    }
    notes.dedup();
    Some(Remote { url: url?, headers, notes })
}

/// The name of an executable, without its folder and Windows' endings.
fn program(command: &str) -> String {
    let name = command.trim().rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    let ending = [".cmd", ".exe", ".bat", ".ps1"].into_iter().find(|ending| name.ends_with(ending));
    name.strip_suffix(ending.unwrap_or_default()).unwrap_or(&name).to_owned()
}

fn is_package(word: &str) -> bool {
    word == "mcp-remote" || word.starts_with("mcp-remote@")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognised(line: &[&str]) -> Option<Remote> {
        let args: Vec<String> = line[1..].iter().map(|&word| word.to_owned()).collect();
        recognise(line[0], &args)
    }

    #[test]
    fn every_way_to_start_it_leads_to_its_url() {
        let expected = Remote { url: "https://a.test/sse".into(), headers: vec![], notes: vec![] };
        for line in [
            &["npx", "mcp-remote", "https://a.test/sse"][..],
            &["npx", "-y", "mcp-remote@latest", "https://a.test/sse", "9696"],
            &["/usr/bin/npx", "--yes", "mcp-remote@0.1.38", "https://a.test/sse", "--transport", "sse-only"],
            &["cmd", "/c", "npx", "-y", "mcp-remote", "https://a.test/sse"],
            &["C:\\Program Files\\nodejs\\npx.cmd", "mcp-remote", "https://a.test/sse", "--allow-http"],
            &["pnpm", "dlx", "mcp-remote", "https://a.test/sse", "--host", "127.0.0.1", "--debug"],
            &["npm", "exec", "--", "mcp-remote", "https://a.test/sse"],
            &["npx", "-p", "mcp-remote@latest", "mcp-remote", "https://a.test/sse"],
            &["mcp-remote", "https://a.test/sse"],
        ] {
            assert_eq!(recognised(line).as_ref(), Some(&expected), "{line:?}");
        }
    }

    #[test]
    fn headers_are_split_at_the_colon_with_or_without_a_space() {
        let line = ["npx", "mcp-remote", "https://a.test", "--header", "A:${T}", "--header", "B: b:c"];
        let headers = recognised(&line).unwrap().headers;
        assert_eq!(headers, [("A".to_owned(), "${T}".to_owned()), ("B".to_owned(), "b:c".to_owned())]);
    }

    #[test]
    fn other_commands_and_options_that_would_be_lost_are_left_alone() {
        for line in [
            &["npx", "-y", "@modelcontextprotocol/server-memory"][..],
            &["npx", "mcp-remote"],
            &["npx", "mcp-remote", "https://a.test", "--static-oauth-client-info", "{}"],
            &["npx", "mcp-remote", "https://a.test", "--header"],
            &["npx", "mcp-remote", "https://a.test", "--header", "no colon"],
            &["npx", "mcp-remote", "https://a.test", "elsewhere"],
            &["npx", "mcp-remote-client", "https://a.test"],
            &["node", "mcp-remote", "https://a.test"],
            &["npx"],
            &["cmd"],
            &[""],
        ] {
            assert_eq!(recognised(line), None, "{line:?}");
        }
    }
}

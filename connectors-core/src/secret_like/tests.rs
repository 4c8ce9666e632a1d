use proptest::prelude::*;

use super::looks_secret;

/// Which of these is judged otherwise than expected.
fn misjudged<'a>(cases: &[(&'a str, &'a str)], expected: bool) -> Vec<(&'a str, &'a str)> {
    cases.iter().copied().filter(|(name, value)| looks_secret(name, value) != expected).collect()
}

#[test]
fn what_is_called_a_secret_is_one() {
    let secret = [
        ("GITHUB_TOKEN", "abc"),
        ("githubToken", "abc"),
        ("github-token", "abc"),
        ("--api-key", "abc"),
        ("X-Api-Key", "abc"),
        ("APIKey", "abc"),
        ("OPENAI_APIKEY", "abc"),
        ("SECRET", "s"),
        ("CLIENT_SECRET", "s"),
        ("SECRET_ID", "5ba4cd1e-1e9e-4a7e-8cb4-0d7a1e7a2b11"),
        ("POSTGRES_PASSWORD", "postgres"),
        ("DB_PASSWORD", "123456"),
        ("PGPASSWORD", "hunter2"),
        ("MYSQL_PWD", "hunter2"),
        ("DB_PASS", "hunter2"),
        ("NPM_AUTHTOKEN", "abc"),
        ("AWS_SECRET_ACCESS_KEY", "abc/def"),
        ("ENCRYPTION_KEY", "k9#f"),
        ("GOOGLE_CREDENTIALS", "abc"),
        ("Authorization", "abc"),
        ("Authorization", "Bearer abc"),
        ("Cookie", "a=b"),
        ("SESSION", "a1b2c3"),
        ("PRIVATE_KEY", "0x00ff12"),
        ("TOKEN_FILE", "a 1b2c3"),
        ("TOKEN", "12345678"),
        ("BASIC_AUTH", "admin:hunter2"),
        ("--basic-auth", "admin:secret"),
        ("HTTP_USER", "admin:secret"),
        ("MASTER_KEY", "letmein"),
        ("SESSION_KEY", "keyboardcat"),
        ("signing-key", "letmein"),
        ("DB_PASSWORD", "$ecret1"),
        ("DB_PASSWORD", "/hunter2"),
        ("AWS_SECRET_ACCESS_KEY", "/K7MDENG+bPxRfiCYEXAMP/KEY0wJalrXUtn+aBc"),
    ];
    assert_eq!(misjudged(&secret, true), []);
}

#[test]
fn what_looks_like_a_token_is_a_secret_whatever_it_is_called() {
    let secret = [
        ("X", "ghp_0123456789abcdefghijABCDEFGHIJ012345"),
        ("X", "github_pat_11ABCDEFG0123456789abc"),
        ("X", "sk-proj-aaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("X", "xoxb-1234567890-abc"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("X", "glpat-abcdEFGH1234ijkl"),
        ("X", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"),
        ("X", "Bearer a1b2c3d4"),
        ("X", "bearer A1b2C3d4"),
        ("X", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"),
        ("DATABASE_URL", "postgres://user:hunter2@localhost/db"),
        ("X", "jdbc:postgresql://user:hunter2@localhost/db"),
        ("X", "https://token@github.com/a/b"),
        ("X", "https://host/mcp?token=abc"),
        ("X", "https://host/mcp?a=b&key=a1b2"),
        ("X", "https://host/mcp?sig=a1%2Fb2"),
        ("X", "https://host/mcp#access_token=abc"),
        ("X", "https://hooks.test/services/T0001/B0001/aB3dE5fG7hI9jK1lM3nO5pQ7"),
        ("X", "Server=db;User Id=sa;Password=hunter2;"),
        ("X", "9f86d081884c7d659a2feaa0c55ad015"),
        ("X", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY0a1B"),
        ("X", "--api-key=abc"),
        ("X", "--client-id=ghp_0123456789abcdefghijABCDEFGHIJ012345"),
        ("X", "--client-id=abc wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY0a1B"),
        ("API_KEY", "id=0oa1b2c3d4e5f6g7h8i9"),
        ("X", "X-Api-Key: abc"),
        ("--header", "Authorization: Bearer abc"),
        ("HEADERS", r#"{"Authorization": "Bearer abc", "Version": "1"}"#),
        ("CONFIG", r#"{"servers": [{"password": "x1"}]}"#),
        ("TOKEN", "${TOKEN:-ghp_0123456789abcdefghij}"),
        ("TOKEN", "${A:-${B:-hunter2}}"),
        ("TOKEN", "${not closed"),
        ("X", "https://user:hunter2@${HOST}/"),
        ("X", "${PREFIX}ghp_0123456789abcdefghij"),
    ];
    assert_eq!(misjudged(&secret, true), []);
}

#[test]
fn what_says_nothing_or_leads_to_a_secret_is_none() {
    let harmless = [
        ("API_KEY", ""),
        ("API_KEY", "  "),
        ("API_KEY", "${API_KEY}"),
        ("API_KEY", "${env:API_KEY}"),
        ("API_KEY", "${API_KEY:-}"),
        ("API_KEY", "$API_KEY"),
        ("API_KEY", "%API_KEY%"),
        ("API_KEY", "{{api_key}}"),
        ("API_KEY", "<your key>"),
        ("API_KEY", "your-api-key"),
        ("API_KEY", "xxxxxxxx"),
        ("Authorization", "Bearer ${TOKEN}"),
        ("--header", "Authorization: Bearer ${TOKEN}"),
        ("X", "https://host/mcp?token=${TOKEN}"),
        ("X", "https://user:${PASSWORD}@host/"),
        ("HEADERS", r#"{"Authorization": "Bearer ${TOKEN}"}"#),
        ("USE_TOKEN", "true"),
        ("AUTH", "off"),
        ("MAX_TOKENS", "100000"),
        ("TOKEN_LIMIT", "4096"),
        ("KEYBOARD", "abc1def2"),
        ("MONKEY", "abc1def2"),
        ("AUTHOR", "Ada L. 1"),
        ("PWD", "/u/project"),
        ("PWD", "C:\\project"),
        ("OLDPWD", "/u/project"),
        ("TOKEN_FILE", "/run/secrets/token"),
        ("TOKEN_FILE", "secrets.json"),
        ("KEY_PATH", "~/.ssh/id_ed25519"),
        ("TOKEN_URL", "https://host/oauth/token"),
        ("SECRET_NAME", "my-secret"),
        ("CREDENTIALS_DIR", "./credentials"),
        ("GOOGLE_CREDENTIALS", "/u/key.json"),
        ("SORT_KEY", "created_at"),
        ("AUTH", "oauth2"),
        ("AUTH_SERVER", "localhost:8080"),
        ("--user", "1000:1000"),
        ("--user", "node:node"),
        ("DB_USER", "someone@host"),
        ("USER", "basic user"),
        ("LOGIN", "12:30"),
        ("AUTH_USER", "C:\\x"),
        ("SORT_KEY", "user:id"),
        ("SESSION_KEY_ID", "letmein"),
        ("PRIVATE_KEY", "/key.pem"),
        ("GOOGLE_CREDENTIALS", "/Users/JohnDoe/Library/Keys/k.json"),
        ("AUTH_TYPE", "basic"),
        ("PUBLIC_KEY", "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"),
        ("SESSION_NAME", "Evening"),
        ("CLIENT_ID", "0oa1b2c3d4e5f6g7h8i9"),
        ("", "--client-id=0oa1b2c3d4e5f6g7h8i9"),
        ("-e", "CLIENT_ID=0oa1b2c3d4e5f6g7h8i9"),
        ("X", "--commit=9b1b5a1c3d7e2f48a6b0c9d1e5f3a7b2c4d6e8f0"),
        ("PATH", "/usr/bin:/bin"),
        ("LANG", "de_DE.UTF-8"),
        ("NODE_OPTIONS", "--max-old-space-size=4096"),
        ("MODEL", "claude-sonnet-4-5-20250929"),
        ("IMAGE", "host/image@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        ("PACKAGE", "@modelcontextprotocol/server-filesystem@2025.8.21"),
        ("PROJECT", "0b6f2a52-3c1f-4a7e-9d55-2f1f0c9b8a77"),
        ("STORE", "/nix/store/0c5f1r9zgq7z3m5v8h2k4x6w1d3b5n7p-tool/bin"),
        ("URL", "https://host/mcp?page=2"),
        ("REMOTE", "ssh://git@host/repo.git"),
        ("NOTE", "Bearer token"),
        ("", "-y"),
        ("", "plain words, several of them"),
    ];
    assert_eq!(misjudged(&harmless, false), []);
}

#[test]
fn nesting_of_any_depth_is_read() {
    let deep = format!("{}hunter2{}", "${A:-".repeat(50_000), "}".repeat(50_000));
    assert!(looks_secret("TOKEN", &deep));
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(!looks_secret("X", &deep));
}

proptest! {
    #[test]
    fn any_name_and_value_is_judged(name in any::<String>(), value in any::<String>()) {
        looks_secret(&name, &value);
    }

    #[test]
    fn what_is_made_of_the_signs_that_matter_is_judged(
        name in "[A-Za-zé_\\-. ]{0,12}",
        value in "[${}:\\-=&?#/@.%<>*\\[\\]\"'é\u{1F600}a-cA-C0-2 ]{0,40}",
    ) {
        looks_secret(&name, &value);
    }

    #[test]
    fn a_token_is_a_secret_wherever_it_stands(before in "[a-z ]{0,8}", token in "ghp_[A-Za-z0-9]{36}") {
        let value = format!("{before} {token}");
        prop_assert!(looks_secret("X", &value));
    }
}

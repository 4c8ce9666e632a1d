use proptest::prelude::*;

use super::*;

fn challenge(scheme: &str, params: &[(&str, &str)]) -> AuthChallenge {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    AuthChallenge { scheme: scheme.to_owned(), params }
}

fn parsed(field: &str) -> Vec<AuthChallenge> {
    parse(&[field.to_owned()])
}

fn wanted_by(fields: &[&str]) -> Option<Wanted> {
    wanted(&fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>())
}

fn bearer() -> Wanted {
    Wanted {
        scheme: Scheme::Bearer,
        scope: None,
        resource_metadata: None,
        error: None,
        error_description: None,
    }
}

#[test]
fn a_challenge_is_read_with_all_of_its_parameters() {
    let field = r#"Bearer realm="x", Scope = "a b" ,error=invalid_token"#;
    let expected = challenge("Bearer", &[("realm", "x"), ("scope", "a b"), ("error", "invalid_token")]);
    assert_eq!(parsed(field), [expected]);
}

#[test]
fn several_challenges_in_one_field_are_told_apart() {
    let field = r#"Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple", Negotiate"#;
    let expected = [
        challenge("Newauth", &[("realm", "apps"), ("type", "1"), ("title", "Login to \"apps\"")]),
        challenge("Basic", &[("realm", "simple")]),
        challenge("Negotiate", &[]),
    ];
    assert_eq!(parsed(field), expected);
}

#[test]
fn several_fields_are_read_one_after_another() {
    let fields = ["Basic realm=\"x\"".to_owned(), String::new(), "Bearer scope=a".to_owned()];
    let expected = [challenge("Basic", &[("realm", "x")]), challenge("Bearer", &[("scope", "a")])];
    assert_eq!(parse(&fields), expected);
}

#[test]
fn a_parameter_does_not_reach_into_another_field() {
    let fields = ["Bearer".to_owned(), "scope=\"a\"".to_owned()];
    assert_eq!(parse(&fields), [challenge("Bearer", &[])]);
}

#[test]
fn a_token68_is_read_over() {
    let expected =
        [challenge("Negotiate", &[]), challenge("Bearer", &[("scope", "a")]), challenge("NTLM", &[])];
    assert_eq!(parsed("Negotiate YII/+==, Bearer scope=\"a\", NTLM TlRM"), expected);
}

#[test]
fn commas_and_equals_signs_within_quotes_separate_nothing() {
    let field = r#"Bearer error_description="no, Basic realm=1", scope="a=b\,c""#;
    let expected = [challenge("Bearer", &[("error_description", "no, Basic realm=1"), ("scope", "a=b,c")])];
    assert_eq!(parsed(field), expected);
}

#[test]
fn missing_quotes_and_missing_commas_are_understood() {
    let field = "Bearer resource_metadata=https://mcp.example/.well-known/x?y=z scope=\"a\" error=e";
    let expected = [challenge(
        "Bearer",
        &[("resource_metadata", "https://mcp.example/.well-known/x?y=z"), ("scope", "a"), ("error", "e")],
    )];
    assert_eq!(parsed(field), expected);
}

#[test]
fn what_is_no_challenge_is_skipped_up_to_the_next_comma() {
    let cases = [
        ("", vec![]),
        (",, ,", vec![]),
        ("=x, scope=a", vec![]),
        ("\"quoted, Basic\", Bearer scope=a", vec![challenge("Bearer", &[("scope", "a")])]),
        ("Bearer scope=a b c, error=e", vec![challenge("Bearer", &[("scope", "a"), ("error", "e")])]),
        ("Bearer scope=a@\"b, c\", error=e", vec![challenge("Bearer", &[("scope", "a@"), ("error", "e")])]),
        ("B{rer scope=a, DPoP algs=ES256", vec![challenge("DPoP", &[("algs", "ES256")])]),
        ("Bearer scope=\"never ends, error=e", vec![challenge("Bearer", &[])]),
        ("Bearer scope=\"ends in escape\\", vec![challenge("Bearer", &[])]),
        ("Bearer scope=", vec![challenge("Bearer", &[])]),
    ];
    for (field, expected) in cases {
        assert_eq!(parsed(field), expected, "{field}");
    }
}

#[test]
fn what_a_hostile_server_sends_is_bounded() {
    let challenges = "Bearer a=b, ".repeat(1_000);
    assert_eq!(parsed(&challenges), vec![challenge("Bearer", &[("a", "b")]); MAX_CHALLENGES]);
    let params = format!("Bearer {}", "a=b,".repeat(1_000));
    assert_eq!(parsed(&params), [challenge("Bearer", &[("a", "b"); MAX_PARAMS])]);
    let cut = format!("Bearer a=1, b=\"{}\"", "é".repeat(MAX_FIELD));
    assert_eq!(parsed(&cut), [challenge("Bearer", &[("a", "1")])]);
}

#[test]
fn everything_that_a_server_says_it_wants_is_there() {
    let field = "bearer error=\"insufficient_scope\", scope=\"files:read  files:write\", \
        resource_metadata=\"https://mcp.example/.well-known/oauth-protected-resource\", \
        error_description=\"More\u{1b}[31m\u{202e} is needed\"";
    let expected = Wanted {
        scope: Some(vec!["files:read".to_owned(), "files:write".to_owned()]),
        resource_metadata: Some("https://mcp.example/.well-known/oauth-protected-resource".to_owned()),
        error: Some("insufficient_scope".to_owned()),
        error_description: Some("More[31m is needed".to_owned()),
        ..bearer()
    };
    assert_eq!(wanted_by(&[field]), Some(expected));
}

#[test]
fn a_bearer_token_is_preferred_and_dpop_is_used_where_it_is_all_there_is() {
    let both = ["DPoP algs=\"ES256\", scope=\"d\"", "Bearer scope=\"b\""];
    assert_eq!(wanted_by(&both), Some(Wanted { scope: Some(vec!["b".to_owned()]), ..bearer() }));
    let dpop = ["Basic realm=\"x\"", "DPoP error=\"use_dpop_nonce\""];
    let expected = Wanted { scheme: Scheme::DPoP, error: Some("use_dpop_nonce".to_owned()), ..bearer() };
    assert_eq!(wanted_by(&dpop), Some(expected));
}

#[test]
fn metadata_is_found_beside_whichever_scheme_names_it() {
    let url = Some("https://mcp.example/prm".to_owned());
    let second =
        ["Bearer realm=\"keys\"", "Bearer resource_metadata=\"https://mcp.example/prm\", scope=\"a\""];
    let expected = Wanted { resource_metadata: url.clone(), scope: Some(vec!["a".to_owned()]), ..bearer() };
    assert_eq!(wanted_by(&second), Some(expected));
    let other = ["Bearer", "OAuth resource_metadata=\"https://mcp.example/prm\""];
    assert_eq!(wanted_by(&other), Some(Wanted { resource_metadata: url.clone(), ..bearer() }));
    assert_eq!(wanted_by(&other[1..]), Some(Wanted { resource_metadata: url, ..bearer() }));
}

#[test]
fn a_challenge_that_no_token_answers_wants_nothing() {
    assert_eq!(wanted_by(&[]), None);
    assert_eq!(wanted_by(&["Basic realm=\"x\"", "Negotiate"]), None);
}

#[test]
fn an_empty_scope_is_no_scope() {
    assert_eq!(wanted_by(&["Bearer scope=\" \""]), Some(bearer()));
}

/// A challenge as a server that follows the grammar would write it.
fn written(challenge: &AuthChallenge) -> String {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
    let params: Vec<_> =
        challenge.params.iter().map(|(name, value)| format!("{name}=\"{}\"", quoted(value))).collect();
    format!("{} {}", challenge.scheme, params.join(", "))
}

fn any_challenge() -> impl Strategy<Value = AuthChallenge> {
    let params = proptest::collection::vec(("[a-z][a-z_.0-9-]{0,8}", "\\PC{0,12}"), 0..5);
    ("[A-Za-z][A-Za-z0-9-]{0,8}", params).prop_map(|(scheme, params)| AuthChallenge { scheme, params })
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(fields in proptest::collection::vec("\\PC*|[ ,=\"\\\\a\u{e9}]*", 0..4)) {
        let all = parse(&fields);
        prop_assert!(all.len() <= MAX_CHALLENGES);
        prop_assert!(all.iter().all(|challenge| !challenge.scheme.is_empty()));
        let _ = wanted(&fields);
    }

    #[test]
    fn what_was_written_by_the_grammar_is_read_back(challenges in proptest::collection::vec(any_challenge(), 0..5)) {
        let together = challenges.iter().map(written).collect::<Vec<_>>().join(" , ");
        prop_assert_eq!(&parse(&[together]), &challenges);
        let apart: Vec<_> = challenges.iter().map(written).collect();
        prop_assert_eq!(&parse(&apart), &challenges);
    }
}

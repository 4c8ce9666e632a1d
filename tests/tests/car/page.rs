//! The page on embedding shows the example that is compiled.

#[test]
fn the_page_holds_the_example_word_for_word() {
    let page = include_str!("../../../docs/embedding-in-car.md");
    let example = include_str!("../../../connectors-ws/examples/embedding_in_car.rs");
    let (_, code) = example.split_once("\n\n").expect("a comment, and then code");
    let shown =
        page.split_once("```rust\n").and_then(|(_, rest)| rest.split_once("```")).expect("a block of code");
    assert_eq!(shown.0, code);
}

//! The example tokens of the RFCs, presented as access tokens.

use serde_json::Value;

use super::Scene;

#[tokio::test]
async fn the_example_tokens_of_the_standards_are_rejected() {
    // S-19, S-25
    let scene = Scene::new().await;
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../src/tokens/algorithms/vectors.json")).unwrap();
    let tokens = vectors["jws"].as_object().unwrap();
    assert_eq!(tokens.len(), 5);
    for (name, token) in tokens {
        scene.assert_rejected(name, token.as_str().unwrap()).await;
    }
    scene.assert_unchanged().await;
}

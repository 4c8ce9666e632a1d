use super::*;

/// A folder of folders and files.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        real(self.0.path()).unwrap().join(path)
    }

    fn folder(&self, path: &str) -> PathBuf {
        fs::create_dir_all(self.path(path)).unwrap();
        self.path(path)
    }

    fn file(&self, path: &str) -> PathBuf {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), "").unwrap();
        self.path(path)
    }

    /// The folder of the project whose team file is found, or why that file is not looked at.
    fn found(&self, start: &str, state_roots: &[PathBuf]) -> Option<Result<String, String>> {
        let candidate = find(&self.path(start), state_roots).unwrap().file?;
        assert_eq!(candidate.path, candidate.project.join(FOLDER).join(NAME));
        let project = candidate.project.strip_prefix(self.path("")).unwrap().to_str().unwrap().to_owned();
        Some(candidate.target.map(|_| project))
    }
}

#[test]
fn the_nearest_file_up_to_the_git_root_is_found() {
    let tree = Tree::new();
    tree.folder("repo/.git");
    tree.folder("repo/a/b/c");
    tree.file(".car/connectors.toml");
    assert_eq!(tree.found("repo/a/b", &[]), None);
    tree.file("repo/.car/connectors.toml");
    // One without a team file hides nothing.
    tree.folder("repo/a/.car");
    assert_eq!(tree.found("repo/a/b", &[]), Some(Ok("repo".into())));
    assert_eq!(tree.found("repo", &[]), Some(Ok("repo".into())));
    tree.file("repo/a/.car/connectors.toml");
    assert_eq!(tree.found("repo/a/b/c", &[]), Some(Ok("repo/a".into())));
    let places = find(&tree.path("repo/a/b"), &[]).unwrap().places;
    let expected = ["repo/a/b", "repo/a", "repo"].map(|folder| tree.path(folder).join(FOLDER).join(NAME));
    assert_eq!(places, expected);
}

#[test]
fn a_worktree_ends_where_its_git_file_is() {
    let tree = Tree::new();
    tree.file("main/.car/connectors.toml");
    tree.folder("main/.git");
    tree.folder("main/trees/x/src");
    tree.file("main/trees/x/.git");
    assert_eq!(tree.found("main/trees/x/src", &[]), None);
    tree.file("main/trees/x/.car/connectors.toml");
    assert_eq!(tree.found("main/trees/x/src", &[]), Some(Ok("main/trees/x".into())));
}

#[test]
fn outside_a_repository_only_the_folders_own_file_counts() {
    let tree = Tree::new();
    tree.file("work/.car/connectors.toml");
    tree.folder("work/notes");
    assert_eq!(tree.found("work/notes", &[]), None);
    assert_eq!(tree.found("work", &[]), Some(Ok("work".into())));
    find(&tree.path("nowhere"), &[]).unwrap_err();
}

#[test]
fn what_lies_in_a_state_root_belongs_to_the_user() {
    let tree = Tree::new();
    tree.file("home/.car/connectors.toml");
    tree.folder("home/.git");
    tree.folder("home/project");
    let root = [tree.path("home/.car")];
    assert_eq!(tree.found("home/project", &root), None);
    assert_eq!(tree.found("home", &root), None);
    assert_eq!(find(&tree.path("home"), &root).unwrap().places, Vec::<PathBuf>::new());
    // The search goes on above it.
    tree.file("home/a/.car/connectors.toml");
    let nearer = [tree.path("home/a/.car")];
    assert_eq!(tree.found("home/a", &nearer), Some(Ok("home".into())));
}

#[cfg(unix)]
#[test]
fn links_to_a_state_root_and_out_of_the_project_are_not_followed() {
    use std::os::unix::fs::symlink;
    let tree = Tree::new();
    tree.file("state/connectors.toml");
    tree.folder("home/.git");
    symlink(tree.path("state"), tree.path("home/.car")).unwrap();
    // The state root under another name, and by a link of its own.
    symlink(tree.path("state"), tree.path("alias")).unwrap();
    for root in ["state", "alias", "home/.car"] {
        assert_eq!(tree.found("home", &[tree.path(root)]), None, "{root}");
    }
    let out = || Some(Err("it is a link that leads out of the project".into()));
    assert_eq!(tree.found("home", &[]), out());

    tree.folder("repo/.git");
    tree.folder("repo/.car");
    tree.file("elsewhere.toml");
    symlink(tree.path("elsewhere.toml"), tree.path("repo/.car/connectors.toml")).unwrap();
    assert_eq!(tree.found("repo", &[]), out());
    assert_eq!(tree.found("repo", &[tree.path("")]), None);

    tree.folder("within/.git");
    tree.folder("within/.car");
    tree.file("within/shared/connectors.toml");
    symlink("../shared/connectors.toml", tree.path("within/.car/connectors.toml")).unwrap();
    assert_eq!(tree.found("within", &[]), Some(Ok("within".into())));
    fs::remove_file(tree.path("within/shared/connectors.toml")).unwrap();
    assert!(
        matches!(tree.found("within", &[]), Some(Err(problem)) if problem.starts_with("it cannot be followed: "))
    );
}

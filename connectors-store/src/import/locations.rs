//! Where the clients keep their settings, on each platform.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::repository;

/// Most profiles of an editor that are looked at.
const MAX_PROFILES: usize = 100;
/// Most packages of one application that are looked at.
const MAX_PACKAGES: usize = 10;
/// What the package of Claude Desktop is called, with the part that stands for its publisher.
const CLAUDE_PACKAGE: &str = "Claude_pzs8sxrjxfjjc";

/// A client, or a file that several share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Client {
    /// `.mcp.json` of a project.
    McpJson,
    /// Claude Desktop.
    ClaudeDesktop,
    /// Claude Code.
    ClaudeCode,
    /// Visual Studio Code and its relatives, `mcp.json`.
    VsCode,
    /// The same, `settings.json`.
    VsCodeSettings,
    /// Cursor.
    Cursor,
    /// Windsurf.
    Windsurf,
    /// Codex.
    Codex,
    /// goose.
    Goose,
}

impl Client {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::McpJson,
        Self::ClaudeDesktop,
        Self::ClaudeCode,
        Self::VsCode,
        Self::VsCodeSettings,
        Self::Cursor,
        Self::Windsurf,
        Self::Codex,
        Self::Goose,
    ];

    /// Its name in the interface.
    pub fn name(self) -> &'static str {
        match self {
            Self::McpJson => "mcp_json",
            Self::ClaudeDesktop => "claude_desktop",
            Self::ClaudeCode => "claude_code",
            Self::VsCode | Self::VsCodeSettings => "vscode",
            Self::Cursor => "cursor",
            Self::Windsurf => "windsurf",
            Self::Codex => "codex",
            Self::Goose => "goose",
        }
    }
}

/// Which layout of folders holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Platform {
    /// Linux and other Unix systems, with the XDG folders.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

impl Platform {
    /// This machine's.
    pub fn current() -> Self {
        if cfg!(windows) {
            Self::Windows
        } else if cfg!(target_os = "macos") {
            Self::MacOs
        } else {
            Self::Linux
        }
    }
}

type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where to look, and with which environment. Cloning is cheap.
#[derive(Clone)]
pub struct Locations {
    platform: Platform,
    home: Option<PathBuf>,
    working_dir: Option<PathBuf>,
    variables: Variables,
}

impl fmt::Debug for Locations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment holds secrets.
        f.debug_struct("Locations")
            .field("platform", &self.platform)
            .field("home", &self.home)
            .field("working_dir", &self.working_dir)
            .finish_non_exhaustive()
    }
}

/// A file to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) client: Client,
    pub(super) path: PathBuf,
    /// The folder of the project that the file belongs to.
    pub(super) folder: Option<PathBuf>,
}

impl Locations {
    /// This user's, on this machine.
    pub fn from_env() -> Self {
        Self {
            platform: Platform::current(),
            home: std::env::home_dir(),
            working_dir: std::env::current_dir().ok(),
            variables: Arc::new(|name| {
                // The system refuses to look for such names.
                let is_name = !name.is_empty() && !name.contains(['=', '\0']);
                is_name.then(|| std::env::var(name).ok()).flatten()
            }),
        }
    }

    /// A home folder and a working directory, with an empty environment.
    pub fn new(home: impl Into<PathBuf>, working_dir: impl Into<PathBuf>) -> Self {
        Self {
            platform: Platform::current(),
            home: Some(home.into()),
            working_dir: Some(working_dir.into()),
            variables: Arc::new(|_| None),
        }
    }

    /// With another platform's layout.
    #[must_use]
    pub fn on(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// With this environment.
    #[must_use]
    pub fn with_variables(
        mut self,
        variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.variables = Arc::new(variables);
        self
    }

    pub(super) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    pub(super) fn working_dir(&self) -> Option<&Path> {
        self.working_dir.as_deref()
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name)
    }

    /// What all spellings of a folder have in common: on Windows one occurs as `C:\x`, `C:/x` and `c:\x`.
    pub(super) fn folder_key(&self, folder: &str) -> String {
        match self.platform {
            Platform::Windows => folder.replace('\\', "/").to_lowercase(),
            Platform::Linux | Platform::MacOs => folder.to_owned(),
        }
    }

    /// Every place with files that may be there, the user's own before those of the project. Looks at none.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut places = self.of_user();
        places.extend(self.working_dir.clone().map(Place::Project));
        places
    }

    /// The file in which Claude Code keeps its state.
    pub(super) fn claude_state(&self) -> Option<PathBuf> {
        let folder = self.folder("CLAUDE_CONFIG_DIR").or_else(|| self.home.clone())?;
        Some(folder.join(".claude.json"))
    }

    /// The folder with the user's settings of Claude Code.
    pub(super) fn claude_settings(&self) -> Option<PathBuf> {
        self.folder("CLAUDE_CONFIG_DIR").or_else(|| Some(self.home.as_ref()?.join(".claude")))
    }

    fn of_user(&self) -> Vec<Place> {
        let file = |client, path| Place::File(Candidate { client, path, folder: None });
        let mut places = Vec::new();
        if let Some(config) = self.config() {
            let desktop = config.join("Claude").join("claude_desktop_config.json");
            places.push(file(Client::ClaudeDesktop, desktop));
            places.extend(self.packages().map(Place::Packages));
        }
        for user in self.editors() {
            places.extend(of_editor(&user).map(Place::File));
            places.push(Place::Profiles(user.join("profiles")));
        }
        places.extend(self.claude_state().map(|path| file(Client::ClaudeCode, path)));
        if let Some(home) = &self.home {
            places.push(file(Client::Cursor, home.join(".cursor").join("mcp.json")));
            for edition in ["windsurf", "windsurf-next"] {
                let path = home.join(".codeium").join(edition).join("mcp_config.json");
                places.push(file(Client::Windsurf, path));
            }
            // Of the plugins for other editors.
            places.push(file(Client::Windsurf, home.join(".codeium").join("mcp_config.json")));
        }
        let codex = self.folder("CODEX_HOME").or_else(|| Some(self.home.as_ref()?.join(".codex")));
        places.extend(codex.map(|folder| file(Client::Codex, folder.join("config.toml"))));
        places.extend(self.goose().map(|folder| file(Client::Goose, folder.join("config.yaml"))));
        places
    }

    /// Where applications keep their settings.
    fn config(&self) -> Option<PathBuf> {
        let home = self.home.as_ref();
        match self.platform {
            Platform::Linux => self.xdg_config(),
            Platform::MacOs => Some(home?.join("Library").join("Application Support")),
            Platform::Windows => {
                self.folder("APPDATA").or_else(|| Some(home?.join("AppData").join("Roaming")))
            }
        }
    }

    /// The folders of the user's settings of each edition of Visual Studio Code.
    fn editors(&self) -> Vec<PathBuf> {
        let editions = ["Code", "Code - Insiders", "VSCodium", "Code - OSS"];
        let mut editors: Vec<PathBuf> =
            self.config().iter().flat_map(|config| editions.map(|edition| config.join(edition))).collect();
        if let Some(home) = &self.home {
            if self.platform == Platform::Linux {
                let flatpaks = [("com.visualstudio.code", "Code"), ("com.vscodium.codium", "VSCodium")];
                let of_flatpak = |(application, edition)| {
                    home.join(".var/app").join(application).join("config").join(edition)
                };
                editors.extend(flatpaks.map(of_flatpak));
            }
            // What runs here for an editor elsewhere.
            let servers = [".vscode-server", ".vscode-server-insiders", ".vscodium-server"];
            editors.extend(servers.map(|server| home.join(server).join("data")));
        }
        editors.into_iter().map(|editor| editor.join("User")).collect()
    }

    /// Where Windows keeps what packaged applications take for the user's own folders.
    fn packages(&self) -> Option<PathBuf> {
        let local = || {
            self.folder("LOCALAPPDATA").or_else(|| Some(self.home.as_ref()?.join("AppData").join("Local")))
        };
        (self.platform == Platform::Windows).then(local).flatten().map(|local| local.join("Packages"))
    }

    fn xdg_config(&self) -> Option<PathBuf> {
        self.folder("XDG_CONFIG_HOME").or_else(|| Some(self.home.as_ref()?.join(".config")))
    }

    fn goose(&self) -> Option<PathBuf> {
        if let Some(root) = self.folder("GOOSE_PATH_ROOT") {
            return Some(root.join("config"));
        }
        Some(match self.platform {
            Platform::Linux | Platform::MacOs => self.xdg_config()?.join("goose"),
            Platform::Windows => self.config()?.join("Block").join("goose").join("config"),
        })
    }

    /// A folder that a variable names. A relative one would move with the working directory, and is ignored.
    fn folder(&self, variable: &str) -> Option<PathBuf> {
        self.variable(variable).map(PathBuf::from).filter(|folder| folder.is_absolute())
    }
}

/// Where to look. What is there of it to be looked at is known of a file alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A file.
    File(Candidate),
    /// The folder with the profiles of an editor.
    Profiles(PathBuf),
    /// The folder with the packaged applications of a user, Claude Desktop among them.
    Packages(PathBuf),
    /// The working directory, and those above it up to the root of its repository; alone where it is in none.
    Project(PathBuf),
}

impl Place {
    /// The files that may be there. Looks at folders.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        match self {
            Self::File(file) => vec![file.clone()],
            Self::Profiles(folder) => {
                let Ok(profiles) = fs::read_dir(folder) else { return Vec::new() };
                let mut profiles: Vec<PathBuf> =
                    profiles.flatten().map(|entry| entry.path()).take(MAX_PROFILES).collect();
                profiles.sort();
                profiles.iter().flat_map(|profile| of_editor(profile)).collect()
            }
            Self::Packages(folder) => {
                let Ok(packages) = fs::read_dir(folder) else { return Vec::new() };
                let names = packages.flatten().map(|entry| entry.file_name());
                let is_claude = |name: &OsString| name.as_encoded_bytes().starts_with(b"Claude_");
                let mut names: Vec<OsString> = names.filter(is_claude).take(MAX_PACKAGES).collect();
                names.sort();
                names.iter().map(|name| of_package(&folder.join(name))).collect()
            }
            Self::Project(start) => {
                let root = repository::root(start).unwrap_or(start);
                let inside = start.ancestors().take_while(|folder| folder.starts_with(root));
                inside.flat_map(of_project).collect()
            }
        }
    }

    /// Those that may be there whatever its folders hold.
    pub(super) fn sure_candidates(&self) -> Vec<Candidate> {
        match self {
            Self::File(file) => vec![file.clone()],
            Self::Profiles(_) => Vec::new(),
            Self::Packages(folder) => vec![of_package(&folder.join(CLAUDE_PACKAGE))],
            Self::Project(start) => of_project(start).to_vec(),
        }
    }
}

/// The file of Claude Desktop where it is a packaged application.
fn of_package(package: &Path) -> Candidate {
    let path = package.join("LocalCache").join("Roaming").join("Claude").join("claude_desktop_config.json");
    Candidate { client: Client::ClaudeDesktop, path, folder: None }
}

/// The files of one edition of Visual Studio Code, or of one of its profiles.
fn of_editor(folder: &Path) -> [Candidate; 2] {
    let files = [(Client::VsCode, "mcp.json"), (Client::VsCodeSettings, "settings.json")];
    files.map(|(client, name)| Candidate { client, path: folder.join(name), folder: None })
}

/// The files of a project in one of its folders.
fn of_project(folder: &Path) -> [Candidate; 5] {
    let files = [
        (Client::McpJson, ".mcp.json"),
        (Client::VsCode, ".vscode/mcp.json"),
        (Client::VsCodeSettings, ".vscode/settings.json"),
        (Client::Cursor, ".cursor/mcp.json"),
        (Client::Codex, ".codex/config.toml"),
    ];
    files.map(|(client, name)| Candidate { client, path: folder.join(name), folder: Some(folder.to_owned()) })
}

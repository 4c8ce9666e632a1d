//! `keyring-writer get|set|delete ACCOUNT`: entries of the service `car`, as car-secrets 0.60 makes them. `set` reads the value from
//! standard input to its end; `get` writes it to standard output, and ends with 3 where there is no such entry.

use std::io::{Read, Write};
use std::process::ExitCode;

use keyring::{Entry, Error};

const NO_ENTRY: u8 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [command, account] = arguments.as_slice() else {
        eprintln!("usage: keyring-writer get|set|delete ACCOUNT");
        return ExitCode::from(2);
    };
    match run(command, account) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::NoEntry) => ExitCode::from(NO_ENTRY),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, account: &str) -> Result<(), Error> {
    let entry = Entry::new("car", account)?;
    let failed = |error: std::io::Error| Error::PlatformFailure(Box::new(error));
    match command {
        "get" => std::io::stdout().write_all(entry.get_password()?.as_bytes()).map_err(failed),
        "set" => {
            let mut value = String::new();
            std::io::stdin().read_to_string(&mut value).map_err(failed)?;
            entry.set_password(&value)
        }
        "delete" => entry.delete_credential(),
        other => Err(Error::Invalid("command".to_owned(), other.to_owned())),
    }
}

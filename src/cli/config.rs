//! `tripgate config`: prints every setting with its value and its source.

use std::io::{self, Write};

use super::{CliError, log_escape};
use crate::config::Loaded;

pub(super) fn run(loaded: &Loaded, out: &mut dyn Write) -> Result<(), CliError> {
    print(loaded, out).map_err(|error| CliError::output(&error))
}

fn print(loaded: &Loaded, out: &mut dyn Write) -> io::Result<()> {
    let head = ("name", "value".to_owned(), "from".to_owned());
    let rows = loaded.origins.iter().map(|origin| {
        let value = match origin.value.as_str() {
            "" => "-".to_owned(),
            value => log_escape::escaped(value),
        };
        (origin.name, value, log_escape::escaped(&origin.from))
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let longest = |width: fn(&(&str, String, String)) -> usize| rows.iter().map(width).max();
    let names = longest(|row| row.0.len()).unwrap_or_default();
    let values = longest(|row| row.1.chars().count()).unwrap_or_default();
    for (name, value, from) in &rows {
        writeln!(out, "{name:names$}  {value:values$}  {from}")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Origin, Settings};

    #[test]
    fn the_table_of_settings_has_aligned_columns_and_escapes_line_breaks_in_values() {
        let origin =
            |name, value: &str, from: &str| Origin { name, value: value.to_owned(), from: from.to_owned() };
        let loaded = Loaded {
            settings: Settings::for_tests(Path::new("data")),
            origins: vec![
                origin("listen", "127.0.0.1:8080", "default"),
                origin("data_dir", "a\nb", ".env"),
                origin("tls_cert", "", "default"),
            ],
        };
        let mut out = Vec::new();
        run(&loaded, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "name      value           from\n\
             listen    127.0.0.1:8080  default\n\
             data_dir  a\\nb            .env\n\
             tls_cert  -               default\n"
        );
    }
}

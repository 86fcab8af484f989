//! The templates of an operator, which replace built-in templates (the setting `templates`).
//!
//! A file is named `KIND.txt` or `KIND.html`, or `KIND.LANGUAGE.txt` and `KIND.LANGUAGE.html` for one
//! language. The first line of a text template is `Subject: …`. An HTML template needs a text template beside
//! it. In an HTML template, every value is escaped. Unknown files and syntax errors are reported when the
//! server starts. If rendering fails, the built-in template is used.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use minijinja::{AutoEscape, Environment, context};

use super::rendering::{self, Rendered};
use super::{Languages, MailKind, Values};
use crate::error_chain::error_chain;

/// The templates can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplatesError {
    /// The directory or a file can't be read.
    #[error("templates: failed to read {path}")]
    Read {
        /// The path.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The name of a file is not the name of a template.
    #[error(
        "templates: {file} is not a template; the names are KIND.txt, KIND.html, KIND.LANGUAGE.txt and \
        KIND.LANGUAGE.html, and the kinds are {kinds}"
    )]
    UnknownFile {
        /// The name of the file.
        file: String,
        /// The names of all kinds.
        kinds: String,
    },
    /// An HTML template has no text template.
    #[error("templates: {html} requires the file {text} in the same directory")]
    NoText {
        /// The name of the HTML template.
        html: String,
        /// The name of the missing file.
        text: String,
    },
    /// A text template does not begin with a subject.
    #[error("templates: the first line of {file} must be `Subject: …`")]
    NoSubject {
        /// The name of the file.
        file: String,
    },
    /// The syntax of a template is wrong.
    #[error("templates: {file} is not valid: {reason}")]
    Syntax {
        /// The name of the file.
        file: String,
        /// What is wrong, with the number of the line.
        reason: String,
    },
}

/// The templates of the operator. Empty if the setting is absent.
#[derive(Debug)]
pub(super) struct Templates {
    environment: Environment<'static>,
    /// The names of the templates without extension. The value is true if there is an HTML template.
    stems: BTreeMap<String, bool>,
}

impl Default for Templates {
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|name| {
            let is_html = Path::new(name).extension().is_some_and(|extension| extension == "html");
            if is_html { AutoEscape::Html } else { AutoEscape::None }
        });
        Self { environment, stems: BTreeMap::new() }
    }
}

impl Templates {
    /// Reads and checks all templates in a directory. Ignores files whose name begins with a dot.
    pub(super) fn load(dir: &Path) -> Result<Self, TemplatesError> {
        let unreadable =
            |path: &Path, source| TemplatesError::Read { path: path.display().to_string(), source };
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(dir).map_err(|error| unreadable(dir, error))? {
            let path = entry.map_err(|error| unreadable(dir, error))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if !name.starts_with('.') {
                check_name(&name)?;
                files.insert(name, fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?);
            }
        }
        let mut templates = Self::default();
        for (file, text) in &files {
            templates.add(file, text.clone())?;
        }
        for (stem, has_html) in &mut templates.stems {
            let (html, text) = (format!("{stem}.html"), format!("{stem}.txt"));
            *has_html = files.contains_key(&html);
            if !files.contains_key(&text) {
                return Err(TemplatesError::NoText { html, text });
            }
        }
        Ok(templates)
    }

    fn add(&mut self, file: &str, text: String) -> Result<(), TemplatesError> {
        let is_text = Path::new(file).extension().is_some_and(|extension| extension == "txt");
        if is_text && !text.starts_with("Subject:") {
            return Err(TemplatesError::NoSubject { file: file.to_owned() });
        }
        self.environment
            .add_template_owned(file.to_owned(), text)
            .map_err(|error| TemplatesError::Syntax { file: file.to_owned(), reason: error_chain(&error) })?;
        let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
        self.stems.insert(stem.to_owned(), false);
        Ok(())
    }

    /// Renders a mail. The link in `values` is a whole URL.
    pub(super) fn render(&self, kind: MailKind, languages: &Languages, values: &Values) -> Rendered {
        let in_language = languages.iter().map(|language| format!("{kind}.{language}"));
        let stem = in_language.chain([kind.name().to_owned()]).find(|stem| self.stems.contains_key(stem));
        let Some(stem) = stem else { return rendering::render(kind, languages, values) };
        self.render_own(&stem, kind, values).unwrap_or_else(|error| {
            tracing::error!(
                template = stem,
                causes = error_chain(&error),
                "failed to render a mail template"
            );
            rendering::render(kind, languages, values)
        })
    }

    fn render_own(&self, stem: &str, kind: MailKind, values: &Values) -> Result<Rendered, minijinja::Error> {
        let at = values.at.map(rendering::time);
        let context = context! {
            kind => kind.name(),
            code => &values.code,
            link => &values.link,
            valid_minutes => values.valid_minutes,
            address => &values.address,
            at => at,
            device => &values.device,
            ip => &values.ip,
            count => values.count,
        };
        let render =
            |extension: &str| self.environment.get_template(&format!("{stem}.{extension}"))?.render(&context);
        let text = render("txt")?;
        let (subject, text) = text.split_once('\n').unwrap_or((&text, ""));
        let subject = subject.trim_start_matches("Subject:").trim().to_owned();
        let has_html = self.stems.get(stem).copied().unwrap_or_default();
        let html = has_html.then(|| render("html")).transpose()?;
        Ok(Rendered { subject, text: text.trim_start().to_owned(), html })
    }
}

fn check_name(file: &str) -> Result<(), TemplatesError> {
    let parts: Vec<&str> = file.split('.').collect();
    let is_known = match parts[..] {
        [kind, extension] => is_kind(kind) && is_extension(extension),
        [kind, language, extension] => is_kind(kind) && is_language(language) && is_extension(extension),
        _ => false,
    };
    if is_known {
        return Ok(());
    }
    let kinds = MailKind::ALL.map(MailKind::name).join(", ");
    Err(TemplatesError::UnknownFile { file: file.to_owned(), kinds })
}

fn is_kind(name: &str) -> bool {
    name.parse::<MailKind>().is_ok()
}

fn is_extension(extension: &str) -> bool {
    ["txt", "html"].contains(&extension)
}

fn is_language(tag: &str) -> bool {
    (2..=8).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)]) -> Result<Templates, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Templates::load(dir.path()).map_err(|error| error.to_string())
    }

    fn values() -> Values {
        Values { code: Some("123".to_owned()), device: Some("<b>x</b>".to_owned()), ..Values::default() }
    }

    #[test]
    fn a_template_of_the_operator_replaces_the_built_in_one_of_its_kind_and_language() {
        let templates = load(&[
            ("login_code.txt", "Subject: Code {{ code }}\n\nHello, {{ code }}."),
            ("login_code.fr.txt", "Subject: Votre code\n\n{{ code }}"),
            ("login_code.fr.html", "<p>{{ code }} {{ device }}</p>"),
            (".gitkeep", ""),
        ])
        .unwrap();
        let render =
            |kind, language| templates.render(kind, &Languages::default().preferring(language), &values());
        let english = render(MailKind::LoginCode, None);
        assert_eq!((&*english.subject, &*english.text, english.html), ("Code 123", "Hello, 123.", None));
        let french = render(MailKind::LoginCode, Some("fr"));
        assert_eq!(french.subject, "Votre code");
        assert_eq!(french.html.unwrap(), "<p>123 &lt;b&gt;x&lt;&#x2f;b&gt;</p>");
        assert_eq!(render(MailKind::Test, Some("de")).subject, "Test des E-Mail-Versands");
    }

    #[test]
    fn a_template_that_fails_is_replaced_by_the_built_in_one() {
        let templates = load(&[("test.txt", "Subject: x\n\n{{ code / 0 }}")]).unwrap();
        let rendered = templates.render(MailKind::Test, &Languages::default(), &values());
        assert_eq!(rendered.subject, "Test of the mail delivery");
    }

    #[test]
    fn unknown_files_and_invalid_templates_are_rejected() {
        for (file, text, message) in [
            ("welcome.txt", "Subject: x", "welcome.txt is not a template"),
            ("test.md", "Subject: x", "test.md is not a template"),
            ("test.EN.txt", "Subject: x", "test.EN.txt is not a template"),
            ("test.txt", "Hello", "the first line of test.txt"),
            ("test.txt", "Subject: x\n\n{{ code", "test.txt is not valid"),
            ("test.html", "<p>", "test.html requires the file test.txt"),
        ] {
            let error = load(&[(file, text)]).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        assert!(Templates::load(Path::new("/nonexistent")).is_err());
    }
}

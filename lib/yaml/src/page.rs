//! A page of Markdown that is made of files: what it says stands in them.

/// Line after line.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    pub fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// Begins a section.
    pub fn head(&mut self, title: &str) {
        self.line(&format!("\n## {title}\n"));
    }

    /// Each row has as many cells as there are columns.
    pub fn table(&mut self, columns: &[&str], rows: Vec<Vec<String>>) {
        self.line(&format!("| {} |", columns.join(" | ")));
        self.line(&format!("|{}", "---|".repeat(columns.len())));
        for row in rows {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', "\\n")).collect();
            self.line(&format!("| {} |", cells.join(" | ")));
        }
    }

    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

/// As it is written, in a line of a page.
#[must_use]
pub fn code(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_ends_neither_its_row_nor_itself() {
        let mut page = Page::default();
        page.head("A");
        page.table(&["b", "c"], vec![vec![code("d|e"), "f\ng".to_owned()]]);
        assert_eq!(page.into_text(), "\n## A\n\n| b | c |\n|---|---|\n| `d\\|e` | f\\ng |\n");
    }
}

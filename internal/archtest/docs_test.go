package archtest

import (
	"bytes"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// headings are those of a package doc, in this order, after the opening
// paragraphs.
var headings = []string{
	"The idea", "The picture", "Wire format", "Pitfalls",
	"Limits and security", "Exercises", "References", "Reading path",
}

// Bounds of a package doc.
const (
	pictureColumns = 72  // go doc indents by four or eight, a terminal has 80
	docLines       = 150 // six terminal screens of 25 lines
	readingLines   = 800 // an evening
)

var (
	testName   = regexp.MustCompile(`\b(Test|Fuzz|Example|Benchmark)_?\p{Lu}\w*`)
	exerciseID = regexp.MustCompile(`\b[A-Z][0-9]{1,2}\b`)
	goFile     = regexp.MustCompile(`[\w./-]*\w\.go\b`)
)

// checkDocs says what the docs of library packages lack. course holds the
// ids of the course's exercises.
func checkDocs(course []exercise) func(*module) complaints {
	return func(m *module) (c complaints) {
		for _, p := range m.pkgs {
			if !p.importable() {
				continue
			}
			at := path.Join(p.dir, "doc.go")
			for _, s := range p.files {
				if s.ast.Doc != nil && s.path != at {
					c.add("%s: a second package comment: the package doc is in %s alone", s.at(s.ast.Doc.Pos()), at)
				}
			}
			d, _, err := m.doc(p, 0)
			if err != nil {
				c.add("%s: %v", p.dir, err)
				continue
			}
			if d.Doc == "" {
				c.add("%s: no package doc: write %s with the headings %s", p.dir, at, strings.Join(headings, ", "))
				continue
			}
			c.packageDoc(m, p, d, course)
		}
		return c
	}
}

// packageDoc looks at the text of one package doc.
func (c *complaints) packageDoc(m *module, p *pkg, d *doc.Package, course []exercise) {
	at := path.Join(p.dir, "doc.go")
	parsed := d.Parser().Parse(d.Doc)

	text := (&comment.Printer{}).Text(parsed)
	if n := bytes.Count(text, []byte("\n")); n > docLines {
		c.add("%s: the package doc takes %d lines in a terminal of 80 columns, more than %d: move detail to the comments of the types", at, n, docLines)
	}

	var found []string
	sections := make(map[string][]comment.Block)
	section := ""
	for _, b := range parsed.Content {
		if h, ok := b.(*comment.Heading); ok {
			section = plain(h.Text)
			found = append(found, section)
			continue
		}
		sections[section] = append(sections[section], b)
	}
	if !slices.Equal(found, headings) {
		c.add("%s: headings %q, want exactly %q", at, found, headings)
		return
	}
	if len(sections[""]) == 0 {
		c.add("%s: no text before the first heading: say what the package is and which function to start with", at)
	}
	for _, h := range headings {
		if len(sections[h]) == 0 {
			c.add("%s: nothing under %q", at, h)
			return
		}
	}

	picture := codeLines(sections["The picture"])
	if len(picture) == 0 {
		c.add("%s: no picture under \"The picture\": draw it in lines indented by a tab", at)
	}
	for _, line := range picture {
		if n := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "        ")); n > pictureColumns {
			c.add("%s: a line of the picture has %d columns, more than %d: %q", at, n, pictureColumns, line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r >= utf8.RuneSelf }) {
			c.add("%s: a line of the picture is not ASCII: %q", at, line)
		}
	}

	tests := make(map[string]bool)
	for _, s := range p.tests {
		for _, decl := range s.ast.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				tests[f.Name.Name] = true
			}
		}
	}
	pitfalls := items(sections["Pitfalls"])
	if len(pitfalls) == 0 {
		c.add("%s: no list under \"Pitfalls\": write one item (\"  - \") for each, with the test that shows it", at)
	}
	for _, item := range pitfalls {
		if len(testNames(item)) == 0 {
			c.add("%s: a pitfall names no test that shows it: %q", at, item)
		}
	}
	for _, name := range testNames(string(text)) {
		if !tests[name] {
			c.add("%s: names %s, which no test file of %s has", at, name, p.dir)
		}
	}

	exercises := plainBlocks(sections["Exercises"])
	ids := exerciseID.FindAllString(exercises, -1)
	if len(ids) == 0 {
		c.add("%s: no exercise id under \"Exercises\"", at)
	}
	for _, id := range ids {
		if !slices.ContainsFunc(course, func(e exercise) bool { return e.id == id }) {
			c.add("%s: no exercise %s in the course", at, id)
		}
	}
	if !strings.Contains(exercises, "go run ./examples run ") {
		c.add("%s: no command under \"Exercises\": write, in a line indented by a tab, go run ./examples run ID", at)
	}

	if !hasLink(sections["References"]) {
		c.add("%s: no link under \"References\": write [RFC 9293 section 3.7] there and its definition \"[RFC 9293 section 3.7]: https://…\" at the end", at)
	}

	reading := plainBlocks(sections["Reading path"])
	names := goFile.FindAllString(reading, -1)
	if len(names) == 0 {
		c.add("%s: no file under \"Reading path\"", at)
	}
	total := 0
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		text, err := fs.ReadFile(m.fsys, path.Join(p.dir, name))
		if err != nil {
			c.add("%s: the reading path names %s, which is not there", at, name)
		}
		total += bytes.Count(text, []byte("\n"))
	}
	if total > readingLines {
		c.add("%s: the reading path has %d lines, more than %d", at, total, readingLines)
	}
}

// testNames lists the tests that a text names. One of another package, such as
// nettest.TestConn, does not count.
func testNames(text string) (names []string) {
	for _, at := range testName.FindAllStringIndex(text, -1) {
		if at[0] == 0 || text[at[0]-1] != '.' {
			names = append(names, text[at[0]:at[1]])
		}
	}
	return names
}

// checkExamples says which library packages and which of their main types lack
// an example that go test runs, and which examples it does not run.
//
// A main type is a concrete exported type, not an error, that has a
// constructor (New…) or at least three exported methods. An example of it is one
// called after the type, one of its methods, or whatever returns it.
func checkExamples(m *module) (c complaints) {
	for _, p := range m.pkgs {
		if !p.importable() {
			continue
		}
		d, fset, err := m.doc(p, 0)
		if err != nil {
			c.add("%s: %v", p.dir, err)
			continue
		}
		runnable := func(list []*doc.Example) bool {
			return slices.ContainsFunc(list, func(e *doc.Example) bool { return e.Output != "" || e.EmptyOutput })
		}
		if !runnable(d.Examples) {
			c.add("%s: no runnable example of the package: write func Example() with an // Output: comment in %s", p.dir, path.Join(p.dir, "example_test.go"))
		}
		shown := make(map[string]bool) // the names of types
		see := func(f *doc.Func) {
			if !runnable(f.Examples) {
				return
			}
			if f.Decl.Recv != nil {
				shown[receiver(f.Decl)] = true
			}
			if f.Decl.Type.Results != nil {
				for _, r := range f.Decl.Type.Results.List {
					shown[baseName(r.Type)] = true
				}
			}
		}
		for _, f := range d.Funcs {
			see(f)
		}
		for _, t := range d.Types {
			shown[t.Name] = shown[t.Name] || runnable(t.Examples)
			for _, f := range slices.Concat(t.Funcs, t.Methods) {
				see(f)
			}
		}
		for _, t := range d.Types {
			if mainType(t) && !shown[t.Name] {
				pos := fset.Position(t.Decl.Pos())
				c.add("%s:%d: no runnable example of %s.%s: write func Example%[4]s with an // Output: comment", pos.Filename, pos.Line, d.Name, t.Name)
			}
		}
		for _, s := range p.tests {
			for _, e := range doc.Examples(s.ast) {
				if e.Output == "" && !e.EmptyOutput {
					c.add("%s: Example%s has no // Output: comment, so go test does not run it", s.path, e.Name)
				}
			}
		}
	}
	return c
}

// mainType reports whether t is a type that needs an example.
func mainType(t *doc.Type) bool {
	for _, s := range t.Decl.Specs {
		if _, ok := s.(*ast.TypeSpec).Type.(*ast.InterfaceType); ok {
			return false
		}
	}
	isError := func(f *doc.Func) bool { return f.Name == "Error" }
	isNew := func(f *doc.Func) bool { return strings.HasPrefix(f.Name, "New") }
	if slices.ContainsFunc(t.Methods, isError) {
		return false
	}
	return len(t.Methods) >= 3 || slices.ContainsFunc(t.Funcs, isNew)
}

// plain is a text without its markup.
func plain(list []comment.Text) string {
	var b strings.Builder
	for _, t := range list {
		switch t := t.(type) {
		case comment.Plain:
			b.WriteString(string(t))
		case comment.Italic:
			b.WriteString(string(t))
		case *comment.Link:
			b.WriteString(plain(t.Text))
		case *comment.DocLink:
			b.WriteString(plain(t.Text))
		}
	}
	return b.String()
}

// plainBlocks is the text of blocks, one a line.
func plainBlocks(blocks []comment.Block) string {
	var b strings.Builder
	for _, block := range blocks {
		switch block := block.(type) {
		case *comment.Paragraph:
			b.WriteString(plain(block.Text))
		case *comment.Code:
			b.WriteString(block.Text)
		case *comment.List:
			for _, item := range block.Items {
				b.WriteString(plainBlocks(item.Content))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// codeLines are the lines of the code blocks among blocks.
func codeLines(blocks []comment.Block) (lines []string) {
	for _, block := range blocks {
		if code, ok := block.(*comment.Code); ok {
			lines = slices.AppendSeq(lines, strings.SplitSeq(strings.TrimRight(code.Text, "\n"), "\n"))
		}
	}
	return lines
}

// items are the texts of the list items among blocks.
func items(blocks []comment.Block) (texts []string) {
	for _, block := range blocks {
		if list, ok := block.(*comment.List); ok {
			for _, item := range list.Items {
				texts = append(texts, strings.TrimSpace(plainBlocks(item.Content)))
			}
		}
	}
	return texts
}

// hasLink reports whether blocks hold a link to the web.
func hasLink(blocks []comment.Block) bool {
	return slices.ContainsFunc(blocks, func(block comment.Block) bool {
		switch block := block.(type) {
		case *comment.Paragraph:
			return slices.ContainsFunc(block.Text, func(t comment.Text) bool {
				_, ok := t.(*comment.Link)
				return ok
			})
		case *comment.List:
			return slices.ContainsFunc(block.Items, func(i *comment.ListItem) bool { return hasLink(i.Content) })
		}
		return false
	})
}

func TestDocs(t *testing.T)     { inspect(t, checkDocs(course(t))) }
func TestExamples(t *testing.T) { inspect(t, checkExamples) }

// goodDoc is a package doc as it should be, without comment marks.
const goodDoc = `Package framing finds where a message ends. Start with [NewReader].

# The idea

A stream has no joints.

# The picture

	  +--------+---------+
	  | length | payload |
	  +--------+---------+

# Wire format

Four bytes, big-endian: 00 00 00 02 68 69.

# Pitfalls

  - A read may be short: see TestShort.
  - A length may lie, as FuzzRead finds.

# Limits and security

A message has at most [Reader.MaxSize] bytes.

# Exercises

S9 sends blocks of sixteen octets:

	go run ./examples run S9

# References

  - [RFC 9293 section 3.7]

# Reading path

reader.go

[RFC 9293 section 3.7]: https://www.rfc-editor.org/rfc/rfc9293#section-3.7
`

// docGround is a good package with goodDoc.
func docGround() map[string]string {
	return map[string]string{
		"framing/doc.go": commented(goodDoc) + "package framing\n",
		"framing/reader.go": "package framing\n\nimport \"io\"\n\n" +
			"// A Reader reads. See [io.Reader.Read], [Reader.Next], [*Reader] and [net/http.Client.Do].\n" +
			"type Reader struct {\n\tMaxSize int // see [NewReader]\n}\n\n" +
			"// NewReader makes a [Reader] on an [io.Reader].\nfunc NewReader(r io.Reader) *Reader { return nil }\n\n" +
			"// Next is next.\nfunc (*Reader) Next() {}\n\n" +
			"// peek looks ahead of [Reader.Next] in the way of [secret.run].\nfunc peek() {}\n\n" +
			"type secret struct{}\n\nfunc (secret) run() {}\n",
		"framing/framing_test.go": "package framing\n\nfunc TestShort() {}\n\nfunc FuzzRead() {}\n",
		"framing/example_test.go": "package framing_test\n\n" +
			"func Example() {\n\t// Output: 1\n}\n\nfunc ExampleNewReader() {\n\t// Unordered output: 1\n}\n",
	}
}

// commented makes a comment of a text.
func commented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		switch {
		case strings.TrimSpace(line) == "":
			b.WriteString("//\n")
		case strings.HasPrefix(line, "\t"):
			b.WriteString("//" + line)
		default:
			b.WriteString("// " + line)
		}
	}
	return b.String()
}

func TestDocsPlanted(t *testing.T) {
	t.Parallel()
	with := func(old, new string) map[string]string {
		if !strings.Contains(goodDoc, old) {
			t.Fatalf("no %q to replace", old)
		}
		return map[string]string{"framing/doc.go": commented(strings.Replace(goodDoc, old, new, 1)) + "package framing\n"}
	}
	list := []exercise{{id: "S1"}, {id: "S9"}}
	plantAll(t, checkDocs(list), docGround(), []plant{
		{"good", nil, ""},
		{"none", map[string]string{"framing/doc.go": "package framing\n"}, "no package doc"},
		{"none in a package below", map[string]string{"mq/broker/a.go": "package broker\n"}, "mq/broker: no package doc"},
		{"none needed in internal", map[string]string{"mq/internal/wire/a.go": "package wire\n", "internal/x/a.go": "package x\n"}, ""},
		{"none needed in tests alone", map[string]string{"codec/a_test.go": "package codec\n"}, ""},
		{"in another file", map[string]string{"framing/a.go": "// Package framing is.\npackage framing\n"}, "framing/a.go:1: a second package comment"},
		{"no opening", with("Package framing finds where a message ends. Start with [NewReader].", ""), "no text before the first heading"},
		{"heading missing", with("# Wire format", ""), `headings ["The idea" "The picture" "Pitfalls"`},
		{"heading otherwise", with("# Limits and security", "# Limits and Security"), "want exactly"},
		{"headings in another order", with("# The idea\n\nA stream has no joints.\n\n# The picture", "# The picture\n\n\t+\n\n# The idea"), "want exactly"},
		{"heading more", with("# References", "# Thanks\n\nAll.\n\n# References"), "want exactly"},
		{"empty section", with("Four bytes, big-endian: 00 00 00 02 68 69.", ""), `nothing under "Wire format"`},
		{"no picture", with("\t  +--------+---------+\n\t  | length | payload |\n\t  +--------+---------+", "Imagine two boxes."), "no picture"},
		{"picture too wide", with("\t  +-", "\t  "+strings.Repeat("-", 73)+"\n\t  +-"), "73 columns"},
		{"picture of box drawing", with("\t  +-", "\t  └─\n\t  +-"), "not ASCII"},
		{"too long", with("A stream has no joints.", "\t"+strings.Repeat("a line\n\t", 120)), "lines in a terminal"},
		{"pitfall without test", with("see TestShort", "beware"), "names no test that shows it"},
		{"pitfall without list", with("  - A read may be short: see TestShort.\n  - A length may lie, as FuzzRead finds.", "TestShort shows."), "no list under"},
		{"pitfall with another package's test", with("see TestShort", "see nettest.TestConn"), "names no test that shows it"},
		{"test that is not there", with("TestShort", "TestLong"), "names TestLong"},
		{"test that is not there, elsewhere", with("A stream has no joints.", "TestGone shows."), "names TestGone"},
		{"no exercise", with("S9 sends", "One sends"), ""}, // the command names one
		{"no exercise at all", map[string]string{"framing/doc.go": commented(strings.ReplaceAll(goodDoc, "S9", "it")) + "package framing\n"}, "no exercise id"},
		{"unknown exercise", with("S9 sends", "S99 sends"), "no exercise S99"},
		{"no command", with("go run ./examples run S9", "see S9"), "no command"},
		{"no link", with("  - [RFC 9293 section 3.7]", "The usual."), "no link"},
		{"no file", with("reader.go", "everything"), "no file under"},
		{"file not there", with("reader.go", "reader.go writer.go"), "writer.go, which is not there"},
		{"too much to read", map[string]string{"framing/reader.go": docGround()["framing/reader.go"] + strings.Repeat("//\n", 790)}, "lines, more than 800"},
	})
}

func TestExamplesPlanted(t *testing.T) {
	t.Parallel()
	examples := func(text string) map[string]string {
		return map[string]string{"framing/example_test.go": "package framing_test\n\n" + text}
	}
	const (
		ofPackage = "func Example() {\n\t// Output: 1\n}\n"
		ofReader  = "func ExampleReader_Next() {\n\t// Output: 1\n}\n"
	)
	plantAll(t, checkExamples, docGround(), []plant{
		{"good", nil, ""},
		{"of a method", examples(ofPackage + ofReader), ""},
		{"of a method that returns it", map[string]string{
			"framing/a.go":            "package framing\n\ntype T struct{}\n\nfunc (T) A() {}\nfunc (T) B() {}\nfunc (T) C() {}\n\nfunc (*Reader) Make() (*T, error) { return nil, nil }\n",
			"framing/example_test.go": "package framing_test\n\n" + ofPackage + "func ExampleReader_Make() {\n\t// Output: 1\n}\n",
		}, ""},
		{"of a generic type", map[string]string{
			"framing/a.go":            "package framing\n\ntype T[K any] struct{}\n\nfunc (*T[K]) A() {}\nfunc (*T[K]) B() {}\nfunc (*T[K]) C() {}\n",
			"framing/example_test.go": "package framing_test\n\n" + ofPackage + ofReader + "func ExampleT_A() {\n\t// Output: 1\n}\n",
		}, ""},
		{"of the package with a suffix", examples(strings.Replace(ofPackage, "Example", "Example_twice", 1) + ofReader), ""},
		{"none of the package", examples(ofReader), "no runnable example of the package"},
		{"none of the type", examples(ofPackage), "framing/reader.go:6: no runnable example of framing.Reader: write func ExampleReader"},
		{"not run", examples(ofPackage + ofReader + "func ExampleReader_twice() {\n}\n"), "ExampleReader_twice has no // Output"},
		{"three methods", map[string]string{"framing/a.go": "package framing\n\ntype T struct{}\n\nfunc (T) A() {}\nfunc (T) B() {}\nfunc (T) C() {}\n"}, "framing.T"},
		{"two methods", map[string]string{"framing/a.go": "package framing\n\ntype T struct{}\n\nfunc (T) A() {}\nfunc (T) B() {}\nfunc (T) c() {}\n"}, ""},
		{"an error", map[string]string{"framing/a.go": "package framing\n\ntype T struct{}\n\nfunc (T) Error() {}\nfunc (T) B() {}\nfunc (T) C() {}\n"}, ""},
		{"an interface", map[string]string{"framing/a.go": "package framing\n\ntype T interface{ A(); B(); C() }\n\nfunc NewT() T { return nil }\n"}, ""},
		{"internal", map[string]string{"framing/internal/a/a.go": "package a\n\ntype T struct{}\n\nfunc NewT() T { return nil }\n"}, ""},
	})
}

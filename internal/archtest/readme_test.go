package archtest

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A fence is a code block of a Markdown text.
type fence struct {
	lang string // what stands behind the back-quotes
	text string
	lead string // the text between the block before, or the start, and this one
}

// fences lists the code blocks of a Markdown text.
func fences(text string) (list []fence) {
	var lead, body strings.Builder
	lang, open := "", false
	for line := range strings.Lines(text) {
		mark, found := strings.CutPrefix(strings.TrimRight(line, " \r\n"), "```")
		switch {
		case found && !open:
			lang, open = strings.TrimSpace(mark), true
		case found:
			list = append(list, fence{lang, body.String(), lead.String()})
			lead.Reset()
			body.Reset()
			open = false
		case open:
			body.WriteString(line)
		default:
			lead.WriteString(line)
		}
	}
	return list
}

// readmeProgram is the first Go program of the README and what the README says
// that it prints.
func readmeProgram(text string) (program, prints string, c complaints) {
	list := fences(text)
	i := slices.IndexFunc(list, func(f fence) bool { return f.lang == "go" })
	if i < 0 {
		c.add("README.md: no program: write one between ```go and ```")
		return "", "", c
	}
	if i+1 == len(list) || !mentions(list[i+1].lead, "prints") {
		c.add("README.md: the program's output is missing: let \"prints\" and a code block follow the program")
		return list[i].text, "", c
	}
	return list[i].text, list[i+1].text, c
}

var (
	// A row of a table: its first two cells.
	tableRow = regexp.MustCompile(`^\|([^|]*)\|([^|]*)\|`)
	// What surrounds a package's name in a cell: code marks, a link.
	cellName = regexp.MustCompile("^\\[?`?([\\w/]+)`?(\\]\\([^)]*\\))?$")
)

// checkReadme says what README.md lacks.
func checkReadme(m *module) (c complaints) {
	data, err := fs.ReadFile(m.fsys, "README.md")
	if err != nil {
		c.add("no README.md: %v", err)
		return c
	}
	text := string(data)
	for _, command := range []string{"go run ./examples tour", "go test ./..."} {
		if !regexp.MustCompile("(?m)(^\\s*(\\$ )?|`)" + regexp.QuoteMeta(command) + "(`|\\s*$|\\s+#)").MatchString(text) {
			c.add("README.md: the command %q is missing: write it on a line of a code block, or between back-quotes", command)
		}
	}
	if !regexp.MustCompile(`replace[ =]` + modulePath).MatchString(text) {
		c.add("README.md: nothing on importing a package from a checkout: show the line \"replace %s => …\" of go.mod", modulePath)
	}
	_, _, missing := readmeProgram(text)
	c = append(c, missing...)

	// The table of packages is the first one below the heading.
	rows := make(map[string]bool)
	in := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			if in && len(rows) > 0 {
				break
			}
			in = strings.EqualFold(strings.TrimSpace(strings.TrimLeft(line, "#")), "packages")
		}
		cells := tableRow.FindStringSubmatch(line)
		if !in || cells == nil {
			continue
		}
		first, about := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])
		if strings.Trim(first, "-: ") == "" || strings.EqualFold(first, "package") {
			continue // the head
		}
		name := cellName.FindStringSubmatch(first)
		if name == nil {
			c.add("README.md: a row of the table of packages begins with %q, want a package's folder, as a link or in back-quotes", first)
			continue
		}
		dir := name[1]
		if p := m.find(dir); p == nil || !p.importable() {
			c.add("README.md: the table of packages has %s, which is no package", dir)
		}
		if rows[dir] {
			c.add("README.md: the table of packages has %s twice", dir)
		}
		if about == "" {
			c.add("README.md: the table of packages says nothing about %s", dir)
		}
		rows[dir] = true
	}
	if len(rows) == 0 {
		c.add("README.md: no table of packages below a heading \"Packages\", with rows such as | [framing](framing) | what it is for |")
		return c
	}
	for _, p := range m.pkgs {
		if p.importable() && !rows[p.dir] {
			c.add("README.md: the table of packages has no row for %s", p.dir)
		}
	}
	return c
}

var mdLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// checkMarkdown says which relative links of Markdown files lead nowhere.
func checkMarkdown(m *module) (c complaints) {
	for _, name := range m.files {
		if path.Ext(name) != ".md" || slices.Contains(strings.Split(name, "/"), "testdata") {
			continue
		}
		data, err := fs.ReadFile(m.fsys, name)
		if err != nil {
			c.add("%v", err)
			continue
		}
		n, fenced := 0, false
		for line := range strings.Lines(string(data)) {
			n++
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
			}
			if fenced {
				continue
			}
			for _, link := range mdLink.FindAllStringSubmatch(line, -1) {
				target, _, _ := strings.Cut(link[1], "#")
				if target == "" || strings.Contains(target, ":") { // this page, or an address
					continue
				}
				target = path.Join(path.Dir(name), target)
				if _, err := fs.Stat(m.fsys, target); err != nil {
					c.add("%s:%d: the link %s leads to %s, which is not there", name, n, link[1], target)
				}
			}
		}
	}
	return c
}

func TestReadme(t *testing.T)   { inspect(t, checkReadme) }
func TestMarkdown(t *testing.T) { inspect(t, checkMarkdown) }

// goodReadme is a README as it should be.
const goodReadme = "# Zócalo\n\n```sh\ngo run ./examples tour   # see it\ngo test ./...\n```\n\n" +
	"replace " + modulePath + " => ../zocalo\n\n" +
	"## A program\n\n```go\npackage main\n\nfunc main() { println() }\n```\n\nIt prints\n\n```\nhola\n```\n\n" +
	"## Packages\n\n| package | what for |\n|---|:--|\n" +
	"| [framing](framing) | messages |\n| `udprel/simnet` | a bad network |\n\n" +
	"## Chapters\n\n| chapter | |\n|---|---|\n| [sockets](examples/sockets) | 15 |\n"

func TestReadmePlanted(t *testing.T) {
	t.Parallel()
	ground := map[string]string{
		"README.md":             goodReadme,
		"framing/a.go":          "package framing\n",
		"udprel/simnet/a.go":    "package simnet\n",
		"internal/interop/a.go": "package interop\n",
		"mq/a_test.go":          "package mq\n",
	}
	with := func(old, new string) map[string]string {
		if !strings.Contains(goodReadme, old) {
			t.Fatalf("no %q to replace", old)
		}
		return map[string]string{"README.md": strings.Replace(goodReadme, old, new, 1)}
	}
	plantAll(t, checkReadme, ground, []plant{
		{"good", nil, ""},
		{"no file", map[string]string{"README.md": ""}, "no README.md"},
		{"command between back-quotes", with("go test ./...\n```\n", "```\n\nRun `go test ./...` now.\n"), ""},
		{"no tour", with("go run ./examples tour", "go run ./examples"), `"go run ./examples tour" is missing`},
		{"other tests", with("go test ./...", "go test ./... -short"), `"go test ./..." is missing`},
		{"no replace", with("replace git", "require git"), "importing a package from a checkout"},
		{"no program", with("```go\n", "```c\n"), "no program"},
		{"no output", with("It prints", "Done."), "output is missing"},
		{"no table", with("## Packages", "## Shelf"), "no table of packages"},
		{"a package without row", with("| `udprel/simnet` | a bad network |\n", ""), "no row for udprel/simnet"},
		{"a new package", map[string]string{"cache/a.go": "package cache\n"}, "no row for cache"},
		{"a row without package", with("`udprel/simnet` |", "`udprel/simnet` | a |\n| `codec` |"), "has codec, which is no package"},
		{"a row for tests", with("`udprel/simnet` |", "`udprel/simnet` | a |\n| `internal/interop` |"), "has internal/interop, which is no package"},
		{"a row twice", with("| [framing]", "| `framing` | a |\n| [framing]"), "framing twice"},
		{"a row without text", with("messages |", "|"), "says nothing about framing"},
		{"a row that is no name", with("| [framing]", "| all of it | x |\n| [framing]"), `begins with "all of it"`},
	})
}

func TestMarkdownPlanted(t *testing.T) {
	t.Parallel()
	ground := map[string]string{
		"README.md":                   "[a](examples/README.md#top) [b](https://x.org/y) [c](#here) [d](mailto:x@y.org)\n```\n[e](no.md)\n```\n",
		"examples/README.md":          "[up](../README.md) [folder](web)\n",
		"examples/web/wget/README.md": "x\n",
		"framing/testdata/in.md":      "[f](no.md)\n",
	}
	plantAll(t, checkMarkdown, ground, []plant{
		{"good", nil, ""},
		{"gone", map[string]string{"examples/README.md": "x\n\n[up](README.txt)\n"}, "examples/README.md:3: the link README.txt leads to examples/README.txt"},
	})
}

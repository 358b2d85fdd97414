package archtest

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// chapters of the course, each a folder of examples.
var chapters = []string{
	"sockets", "names", "data", "security", "servers", "caching", "messaging",
	"web", "mail", "p2p", "media", "clocks", "distributed",
}

// An exercise is one line of testdata/exercises.txt.
type exercise struct {
	id, chapter, folder string
	questions           int // of the course, for the README to answer
}

// course reads the list of the course's exercises.
func course(t *testing.T) (list []exercise) {
	t.Helper()
	f, err := os.Open("testdata/exercises.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		var e exercise
		if _, err := fmt.Sscan(s.Text(), &e.id, &e.chapter, &e.folder, &e.questions); err != nil {
			t.Fatalf("testdata/exercises.txt: %q: %v", s.Text(), err)
		}
		list = append(list, e)
	}
	return list
}

// checkExercises says what the folders of the exercises lack.
func checkExercises(course []exercise) func(*module) complaints {
	return func(m *module) (c complaints) {
		dirs, err := fs.Glob(m.fsys, "examples/*")
		if err != nil {
			c.add("examples: %v", err)
		}
		for _, dir := range dirs {
			if name := path.Base(dir); !isDir(m.fsys, dir) || name == "internal" || name == "testdata" {
				continue
			} else if !slices.Contains(chapters, name) {
				c.add("%s: no such chapter; they are %s", dir, strings.Join(chapters, " "))
				continue
			}
			entries, err := fs.ReadDir(m.fsys, dir)
			if err != nil {
				c.add("%s: %v", dir, err)
			}
			for _, entry := range entries {
				sub := path.Join(dir, entry.Name())
				switch {
				case !entry.IsDir():
					c.add("%s: a chapter holds exercises, each in its folder, and nothing else", sub)
				case !hasFile(m, sub): // git does not know empty folders
				default:
					i := slices.IndexFunc(course, func(e exercise) bool { return path.Join("examples", e.chapter, e.folder) == sub })
					if i < 0 {
						c.add("%s: no such exercise in internal/archtest/testdata/exercises.txt", sub)
						continue
					}
					c.exercise(m, sub, course[i])
				}
			}
		}
		return c
	}
}

func isDir(fsys fs.FS, name string) bool {
	info, err := fs.Stat(fsys, name)
	return err == nil && info.IsDir()
}

func hasFile(m *module, dir string) bool {
	return slices.ContainsFunc(m.files, func(f string) bool { return within(f, dir) })
}

// exercise looks at the folder of one exercise.
func (c *complaints) exercise(m *module, dir string, e exercise) {
	p := m.find(dir)
	switch {
	case p == nil || len(p.files) == 0:
		c.add("%s: no program: write main.go", dir)
	case p.name != "main" || !slices.ContainsFunc(p.files, func(s *source) bool { return s.path == dir+"/main.go" }):
		c.add("%s: no main.go of package main", dir)
	default:
		if !slices.ContainsFunc(p.files, func(s *source) bool { return hasString(s.ast, `"demo"`) }) {
			c.add("%s: no subcommand \"demo\": it plays both ends without arguments, for the tour", dir)
		}
		if !slices.ContainsFunc(p.files, func(s *source) bool { return declares(s.ast, "run") }) {
			c.add("%s: no function run: main only calls run(ctx, args, stdin, stdout, stderr) int", dir)
		}
	}
	switch {
	case p == nil || !slices.ContainsFunc(p.tests, func(s *source) bool { return declaresTest(s.ast) }):
		c.add("%s: no test: write main_test.go", dir)
	case !slices.ContainsFunc(p.tests, func(s *source) bool { return calls(s.ast, "clitest", "Conventions") }):
		c.add("%s: no test calls clitest.Conventions, which tries -h, wrong flags and the demo", dir)
	}

	readme := path.Join(dir, "README.md")
	text, err := fs.ReadFile(m.fsys, readme)
	if err != nil {
		c.add("%s: no README.md", dir)
		return
	}
	lines := strings.Split(string(text), "\n")
	if want := "# " + e.id + " " + e.folder; lines[0] != want {
		c.add("%s: the first line is %q, want %q, for the catalogue", readme, lines[0], want)
	}
	if len(lines) < 3 || strings.TrimSpace(lines[1]) != "" || strings.TrimSpace(lines[2]) == "" || strings.HasPrefix(lines[2], "#") {
		c.add("%s: the title needs an empty line and then a paragraph whose first sentence says what the exercise does, for the catalogue", readme)
	}
	answered, empty := questions(lines)
	for _, q := range empty {
		c.add("%s: no answer below %q", readme, q)
	}
	if answered < e.questions {
		c.add("%s: %d questions under \"## Questions\", each to be \"### The question?\" with the answer below it; the course asks %d", readme, answered, e.questions)
	}
}

// questions counts the questions of a README, and lists those without answer.
func questions(lines []string) (n int, empty []string) {
	in, fenced, open := false, false, ""
	end := func() {
		if open != "" {
			empty = append(empty, open)
		}
		open = ""
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		switch {
		case !fenced && (strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "## ")):
			end()
			in = strings.TrimSpace(line) == "## Questions"
		case !in:
		case !fenced && strings.HasPrefix(line, "### "):
			end()
			n++
			open = line
		case strings.TrimSpace(line) != "":
			open = ""
		}
	}
	end()
	return n, empty
}

// hasString reports whether a file has the literal, quotes and all.
func hasString(f *ast.File, literal string) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && lit.Value == literal {
			found = true
		}
		return !found
	})
	return found
}

// declares reports whether a file has a function of that name.
func declares(f *ast.File, name string) bool {
	return slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
		fn, ok := d.(*ast.FuncDecl)
		return ok && fn.Recv == nil && fn.Name.Name == name
	})
}

// declaresTest reports whether a file has a test.
func declaresTest(f *ast.File) bool {
	return slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
		fn, ok := d.(*ast.FuncDecl)
		return ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") && fn.Name.Name != "TestMain"
	})
}

// calls reports whether a file calls pkg.name.
func calls(f *ast.File, pkg, name string) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == name {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == pkg {
					found = true
				}
			}
		}
		return !found
	})
	return found
}

var (
	catalogueChapter  = regexp.MustCompile(`^(\w+): `)
	catalogueExercise = regexp.MustCompile(`^\t([A-Z][0-9]+) (\w+): `)
)

// checkCatalogue compares the list of exercises that the catalogue embeds with
// the course's. It exists for what a typing error in either would hide: an
// exercise that the tour never plays, or whose questions nobody counts.
func checkCatalogue(course []exercise) func(*module) complaints {
	return func(m *module) (c complaints) {
		const name = "examples/exercises.txt"
		text, err := fs.ReadFile(m.fsys, name)
		if err != nil {
			c.add("no list of the course's exercises for the catalogue: %v", err)
			return c
		}
		listed := make(map[string]bool)
		chapter := ""
		for line := range strings.Lines(string(text)) {
			if found := catalogueChapter.FindStringSubmatch(line); found != nil {
				chapter = found[1]
			}
			if found := catalogueExercise.FindStringSubmatch(line); found != nil {
				listed[found[1]+" "+chapter+"/"+found[2]] = true
			}
		}
		for _, e := range course {
			id := e.id + " " + e.chapter + "/" + e.folder
			if !listed[id] {
				c.add("%s: no exercise %s, which the course has", name, id)
			}
			delete(listed, id)
		}
		for _, id := range slices.Sorted(maps.Keys(listed)) {
			c.add("%s: exercise %s, which the course has not", name, id)
		}
		return c
	}
}

func TestCatalogue(t *testing.T) { inspect(t, checkCatalogue(course(t))) }
func TestExercises(t *testing.T) { inspect(t, checkExercises(course(t))) }

// TestCourse looks at the list itself.
func TestCourse(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	total := 0
	for _, e := range course(t) {
		if !exerciseID.MatchString(e.id) || !slices.Contains(chapters, e.chapter) || !fs.ValidPath(e.folder) {
			t.Errorf("testdata/exercises.txt: strange line %+v", e)
		}
		if seen[e.id] || seen[e.chapter+"/"+e.folder] {
			t.Errorf("testdata/exercises.txt: %+v twice", e)
		}
		seen[e.id], seen[e.chapter+"/"+e.folder] = true, true
		total += e.questions
	}
	if len(seen) != 2*79 || total != 116 {
		t.Errorf("testdata/exercises.txt: %d exercises with %d questions, the course has 79 with 116", len(seen)/2, total)
	}
}

func TestCataloguePlanted(t *testing.T) {
	t.Parallel()
	const good = "# Comment: S9 no\n\nsockets: UDP\n\tS1 udplocal: talks\n\nweb: HTTP\n\tW1 wget: gets\n"
	file := func(text string) map[string]string { return map[string]string{"examples/exercises.txt": text} }
	plantAll(t, checkCatalogue([]exercise{{"S1", "sockets", "udplocal", 2}, {"W1", "web", "wget", 0}}), nil, []plant{
		{"good", file(good), ""},
		{"no list", nil, "no list"},
		{"one missing", file(strings.Replace(good, "\tW1 wget: gets\n", "", 1)), "no exercise W1 web/wget"},
		{"one more", file(good + "\tW2 webserver: serves\n"), "exercise W2 web/webserver, which the course has not"},
		{"no chapter line", file(strings.Replace(good, "sockets: UDP", "", 1) + "\nsockets: UDP\n\tS1 udplocal: talks\n"), "exercise S1 /udplocal"},
	})
}

func TestExercisesPlanted(t *testing.T) {
	t.Parallel()
	const (
		dir    = "examples/sockets/udplocal/"
		code   = "package main\n\nfunc main() {}\n\nfunc run() string { return \"demo\" }\n"
		tests  = "package main\n\nfunc TestConventions(t *testing.T) { clitest.Conventions(t) }\n"
		readme = "# S1 udplocal\n\nTalks to itself.\n\n```sh\n# not a title\n```\n\n## Questions\n\n### What?\n\nThis.\n\n### Why?\n\n```\nThat.\n```\n\n## More\n\n### No question\n"
	)
	list := []exercise{{"S1", "sockets", "udplocal", 2}, {"W1", "web", "wget", 0}}
	ground := map[string]string{
		dir + "main.go":                code,
		dir + "main_test.go":           tests,
		dir + "README.md":              readme,
		"examples/main.go":             "package main\n",
		"examples/README.md":           "x",
		"examples/internal/cli/cli.go": "package cli\n",
	}
	file := func(name, old, new string) map[string]string {
		if !strings.Contains(ground[dir+name], old) {
			t.Fatalf("no %q to replace", old)
		}
		return map[string]string{dir + name: strings.Replace(ground[dir+name], old, new, 1)}
	}
	plantAll(t, checkExercises(list), ground, []plant{
		{"good", nil, ""},
		{"no chapter", map[string]string{"examples/games/pong/main.go": code}, "examples/games: no such chapter"},
		{"a file in a chapter", map[string]string{"examples/sockets/main.go": code}, "each in its folder"},
		{"an exercise of its own", map[string]string{"examples/web/pong/main.go": code}, "examples/web/pong: no such exercise"},
		{"in another chapter", map[string]string{"examples/names/wget/main.go": code}, "examples/names/wget: no such exercise"},
		{"no program", map[string]string{dir + "main.go": ""}, "no program"},
		{"no main.go", map[string]string{dir + "main.go": "", dir + "a.go": code}, "no main.go"},
		{"no demo", file("main.go", `"demo"`, `"a demo"`), "no subcommand"},
		{"no run", file("main.go", "func run", "func walk"), "no function run"},
		{"no test", map[string]string{dir + "main_test.go": ""}, "no test: write"},
		{"a test file without test", file("main_test.go", "TestConventions", "TestMain"), "no test: write"},
		{"no conventions", file("main_test.go", "clitest.Conventions", "clitest.Run"), "clitest.Conventions"},
		{"no README", map[string]string{dir + "README.md": ""}, "no README.md"},
		{"another title", file("README.md", "# S1 udplocal", "# S2 udplocal"), `want "# S1 udplocal"`},
		{"no summary", file("README.md", "Talks to itself.", "## Usage"), "first sentence"},
		{"no questions", file("README.md", "## Questions", "## Answers"), "0 questions"},
		{"too few", file("README.md", "### Why?", "Why?"), "1 questions"},
		{"no answer", file("README.md", "This.", ""), `no answer below "### What?"`},
		{"no last answer", file("README.md", "\n```\nThat.\n```\n", ""), `no answer below "### Why?"`},
	})
}

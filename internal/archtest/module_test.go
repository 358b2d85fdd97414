package archtest

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// modulePath is the import path of the module under test.
const modulePath = "github.com/zocalo-go/zocalo"

// libraries are the folders at the top that hold the packages which students
// import.
var libraries = []string{"framing", "codec", "udprel", "dnsx", "tlsx", "cache", "mq", "mapreduce", "httpx"}

// A module is a source tree read into memory.
type module struct {
	fsys  fs.FS
	pkgs  []*pkg   // by folder; neither nested modules nor testdata
	files []string // every file but those of .git
	top   []string // the folders at the top whose name has no dot in front
}

// A pkg is one folder with Go files, whatever system they are for.
type pkg struct {
	dir   string // with slashes, from the module's root; "." for the root
	name  string
	files []*source // in go build on some system
	tests []*source // in go test on some system
}

// A source is one parsed Go file.
type source struct {
	path string // from the module's root
	text []byte
	fset *token.FileSet
	ast  *ast.File
}

// load reads the module whose root fsys is. A file that does not parse is
// an error: no rule could say anything of it.
func load(fsys fs.FS) (*module, error) {
	m := &module{fsys: fsys}
	byDir := make(map[string]*pkg)
	var nested []string
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if base == ".git" { // a folder, or a file in a linked work tree
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			if name == "artifacts" { // what go test -artifacts leaves; git ignores it
				return fs.SkipDir
			}
			if name != "." && !strings.Contains(name, "/") && !strings.HasPrefix(name, ".") {
				m.top = append(m.top, name)
			}
			if _, err := fs.Stat(fsys, path.Join(name, "go.mod")); err == nil && name != "." {
				nested = append(nested, name)
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		m.files = append(m.files, name)
		dir := path.Dir(name)
		if path.Ext(name) != ".go" || notBuilt(name) || slices.ContainsFunc(nested, func(n string) bool { return within(dir, n) }) {
			return nil
		}
		src, err := parse(fsys, name)
		if err != nil {
			return err
		}
		if byDir[dir] == nil {
			byDir[dir] = &pkg{dir: dir}
			m.pkgs = append(m.pkgs, byDir[dir])
		}
		p := byDir[dir]
		switch {
		case neverBuilt(src.ast):
		case strings.HasSuffix(name, "_test.go"):
			p.tests = append(p.tests, src)
		default:
			p.files = append(p.files, src)
			p.name = src.ast.Name.Name
		}
		return nil
	})
	return m, err
}

// parse reads one Go file.
func parse(fsys fs.FS, name string) (*source, error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	s := &source{path: name, text: text, fset: token.NewFileSet()}
	s.ast, err = parser.ParseFile(s.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	return s, err
}

// notBuilt reports whether the go command passes over a file because of the
// name of a folder on the way to it, or its own.
func notBuilt(name string) bool {
	for elem := range strings.SplitSeq(name, "/") {
		if elem == "testdata" || strings.HasPrefix(elem, "_") || strings.HasPrefix(elem, ".") {
			return true
		}
	}
	return false
}

// neverBuilt reports whether a file is a program of its own, run by go
// generate or by hand, which by custom carries the build tag "ignore".
func neverBuilt(f *ast.File) bool {
	for _, group := range f.Comments {
		if group.Pos() > f.Package {
			break
		}
		for _, c := range group.List {
			if expr, err := constraint.Parse(c.Text); err == nil {
				ignored := true
				expr.Eval(func(tag string) bool {
					ignored = ignored && tag == "ignore"
					return false
				})
				return ignored
			}
		}
	}
	return false
}

// at names a place in the file, for messages.
func (s *source) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(pos).Line)
}

// importPath is what other packages write to import p.
func (p *pkg) importPath() string { return path.Join(modulePath, p.dir) }

// importable reports whether p is one of the packages meant for students: its
// doc is a chapter, its API a promise.
func (p *pkg) importable() bool {
	return slices.Contains(libraries, first(p.dir)) && !p.internal() && len(p.files) > 0
}

// internal reports whether only this module can import p.
func (p *pkg) internal() bool {
	return slices.Contains(strings.Split(p.dir, "/"), "internal")
}

// doc computes what go doc would show of p. It parses the files anew, since
// go/doc cuts up the syntax trees that it is given.
func (m *module) doc(p *pkg, mode doc.Mode) (*doc.Package, *token.FileSet, error) {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, s := range slices.Concat(p.files, p.tests) {
		f, err := parser.ParseFile(fset, s.path, s.text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, f)
	}
	d, err := doc.NewFromFiles(fset, files, p.importPath(), mode)
	return d, fset, err
}

// find returns the package in a folder, or nil.
func (m *module) find(dir string) *pkg {
	for _, p := range m.pkgs {
		if p.dir == dir {
			return p
		}
	}
	return nil
}

// first is the first element of a path.
func first(name string) string {
	elem, _, _ := strings.Cut(name, "/")
	return elem
}

// within reports whether a path is root or lies below it.
func within(name, root string) bool {
	return name == root || strings.HasPrefix(name, root+"/")
}

// complaints collects what a rule has to say.
type complaints []string

func (c *complaints) add(format string, args ...any) {
	*c = append(*c, fmt.Sprintf(format, args...))
}

// tree is this module.
var tree = sync.OnceValues(func() (*module, error) {
	m, err := load(os.DirFS(root))
	if err == nil && m.find("internal/archtest") == nil {
		err = fmt.Errorf("%s is not the module's root: it has no internal/archtest", root)
	}
	return m, err
})

// root is this module's root, seen from this package's folder, where go test
// runs its tests.
const root = "../.."

// inspect applies a rule to this module.
func inspect(t *testing.T, rule func(*module) complaints) {
	t.Helper()
	t.Parallel()
	m, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range rule(m) {
		t.Error(c)
	}
}

// A plant is a made-up tree with one fault, and the words that the complaint
// about it must hold. Without words there must be no complaint.
type plant struct {
	name  string
	files map[string]string
	want  string
}

// plantAll applies a rule to each plant laid over the same good ground.
func plantAll(t *testing.T, rule func(*module) complaints, ground map[string]string, plants []plant) {
	t.Helper()
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			m := planted(t, ground, p.files)
			got := rule(m)
			if p.want == "" {
				if len(got) > 0 {
					t.Errorf("complaints about a good tree:\n%s", strings.Join(got, "\n"))
				}
				return
			}
			if len(got) != 1 || !strings.Contains(got[0], p.want) {
				t.Errorf("got %d complaints, want one with %q:\n%s", len(got), p.want, strings.Join(got, "\n"))
			}
		})
	}
}

// planted loads a module whose files are those of several maps by name; a later
// map comes before an earlier one, and takes a file away by an empty text.
func planted(t *testing.T, layers ...map[string]string) *module {
	t.Helper()
	fsys := make(fstest.MapFS)
	for _, files := range layers {
		for name, text := range files {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
			if text == "" {
				delete(fsys, name)
			}
		}
	}
	m, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLoad(t *testing.T) {
	t.Parallel()
	fsys := fstest.MapFS{}
	for name, text := range map[string]string{
		"go.mod":                 "module m\n",
		"a/a.go":                 "package a\n",
		"a/a_windows.go":         "package a\n",
		"a/gen.go":               "//go:build ignore\n\npackage main\n",
		"a/unix.go":              "//go:build unix && !darwin\n\npackage a\n",
		"a/a_test.go":            "package a_test\n",
		"a/testdata/x.go":        "not Go at all",
		"a/_old/x.go":            "not Go at all",
		"bench/go.mod":           "module b\n",
		"bench/sub/b.go":         "package b\n",
		".git/config":            "",
		".ci/run":                "#!/bin/sh\n",
		"artifacts/x/profile.go": "not Go at all",
	} {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	m, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.pkgs) != 1 || m.pkgs[0].dir != "a" || m.pkgs[0].name != "a" {
		t.Fatalf("packages %+v, want a alone", m.pkgs)
	}
	var got []string
	for _, s := range slices.Concat(m.pkgs[0].files, m.pkgs[0].tests) {
		got = append(got, s.path)
	}
	if want := []string{"a/a.go", "a/a_windows.go", "a/unix.go", "a/a_test.go"}; !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	if want := []string{"a", "bench"}; !slices.Equal(m.top, want) {
		t.Errorf("folders at the top %v, want %v", m.top, want)
	}
	if !slices.Contains(m.files, ".ci/run") || slices.Contains(m.files, ".git/config") {
		t.Errorf("files %v: want those of .ci, not those of .git", m.files)
	}

	fsys["a/broken.go"] = &fstest.MapFile{Data: []byte("package")}
	if _, err := load(fsys); err == nil {
		t.Error("a file that does not parse went unnoticed")
	}
}

package archtest

import (
	"cmp"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A rule says what the non-test code of a folder, and of those below it, may
// import besides the standard library and itself.
type rule struct {
	ours  []string // folders of this module
	third []string // import paths from elsewhere, with everything below them
}

// rules holds the rule for each folder. Of several that apply to a package the
// one with the longest path counts. A new dependency is first a decision (is
// it small, kept up, and not the subject of the course?) and then a line here.
var rules = map[string]rule{
	"framing": {},
	"codec": {
		ours:  []string{"framing"},
		third: []string{"github.com/vmihailenco/msgpack/v5", "golang.org/x/text", "golang.org/x/net"},
	},
	"udprel": {
		ours:  []string{"udprel"},
		third: []string{"golang.org/x/net", "golang.org/x/sys", "golang.org/x/time"},
	},
	"udprel/simnet": {},
	"dnsx": {
		ours:  []string{"dnsx"},
		third: []string{"github.com/miekg/dns", "golang.org/x/net", "golang.org/x/sync", "golang.org/x/time"},
	},
	"tlsx": {
		ours:  []string{"tlsx"},
		third: []string{"golang.org/x/crypto", "golang.org/x/net", "github.com/youmark/pkcs8", "software.sslmate.com/src/go-pkcs12"},
	},
	"cache": {
		ours:  []string{"cache"},
		third: []string{"golang.org/x/sync", "golang.org/x/time"},
	},
	"mq": {
		ours:  []string{"mq", "framing", "codec"},
		third: []string{"golang.org/x/crypto", "golang.org/x/sync", "golang.org/x/time"},
	},
	"mq/broker": {
		ours:  []string{"mq", "framing", "codec"},
		third: []string{"go.etcd.io/bbolt", "golang.org/x/sync", "golang.org/x/time"},
	},
	"mapreduce": {
		ours: []string{"mapreduce", "framing", "codec"},
	},
	"httpx": {
		ours:  []string{"httpx"},
		third: []string{"golang.org/x/net", "golang.org/x/sync", "golang.org/x/time"},
	},
	"internal": {
		ours:  []string{"internal"},
		third: []string{testify},
	},
}

const testify = "github.com/stretchr/testify"

// testSupport are the folders that tests and examples may import and library
// code may not.
var testSupport = []string{"internal", "udprel/simnet", "dnsx/dnstest"}

// banned are imports that no code but tests may have, with the reason.
var banned = map[string]string{
	"math/rand":              "use math/rand/v2, seeded per value",
	"encoding/json/v2":       "it needs an experiment flag to build",
	"encoding/json/jsontext": "it needs an experiment flag to build",
	"log":                    "take a *slog.Logger; nil discards",
}

// bannedInLibrary are more imports that library code may not have.
var bannedInLibrary = map[string]string{
	"unsafe":         "there is a safe way, or the file is to be listed in unsafeFiles with its reason",
	"weak":           "an explicit lifetime is easier to read",
	"unique":         "an explicit table is easier to read",
	"flag":           "configuration is a struct; flags belong to programs",
	"expvar":         "importing it changes the global http.DefaultServeMux",
	"net/http/pprof": "importing it changes the global http.DefaultServeMux",
}

// unsafeFiles are the files that may import unsafe, with the reason.
var unsafeFiles = map[string]string{}

// topFolders are the folders at the top of the tree. bench is a module of its
// own.
var topFolders = append([]string{"examples", "internal", "bench"}, libraries...)

// checkImports says who imports whom against the design.
func checkImports(m *module) (c complaints) {
	for _, p := range m.pkgs {
		_, r := ruleFor(p.dir)
		support := slices.ContainsFunc(testSupport, func(s string) bool { return within(p.dir, s) })
		example := first(p.dir) == "examples"
		for _, s := range p.files {
			for _, spec := range s.ast.Imports {
				name, _ := strconv.Unquote(spec.Path.Value) // the parser has seen to it
				at := s.at(spec.Pos())
				if why := banned[name]; why != "" {
					c.add("%s: imports %s: %s", at, name, why)
				}
				if example {
					continue
				}
				if why := bannedInLibrary[name]; why != "" && (name != "unsafe" || unsafeFiles[s.path] == "") {
					c.add("%s: imports %s: %s", at, name, why)
				}
				if !support && (name == "net/http/httptest" || within(name, "testing")) {
					c.add("%s: imports %s: that is for tests; move the code to a _test.go file", at, name)
				}
				switch {
				case within(name, modulePath):
					dir := strings.TrimPrefix(strings.TrimPrefix(name, modulePath), "/")
					if why := refuse(p.dir, dir); why != "" {
						c.add("%s: %s may not import %s: %s", at, p.dir, cmp.Or(dir, "the module's root"), why)
					}
				case strings.Contains(first(name), "."): // not of the standard library
					if !slices.ContainsFunc(r.third, func(o string) bool { return within(name, o) }) {
						c.add("%s: %s may not import %s: write it by hand, or get the dependency agreed and add it to rules in internal/archtest/imports_test.go", at, p.dir, name)
					}
				}
			}
		}
		for _, s := range p.tests {
			for _, spec := range s.ast.Imports {
				name, _ := strconv.Unquote(spec.Path.Value)
				if within(name, modulePath+"/examples") && !example {
					c.add("%s: imports %s: nothing imports an example, not even a test", s.at(spec.Pos()), strings.TrimPrefix(name, modulePath+"/"))
				}
			}
		}
	}
	return c
}

// refuse says why non-test code in folder from, no example, may not import
// folder to; "" if it may.
func refuse(from, to string) string {
	if first(to) == "examples" {
		return "nothing imports an example; what both need goes into a library package"
	}
	for _, ts := range testSupport {
		if within(to, ts) && !within(from, ts) {
			return "that is for tests and examples only"
		}
	}
	key, r := ruleFor(from)
	if key != "" && within(to, key) || slices.ContainsFunc(r.ours, func(o string) bool { return within(to, o) }) {
		return ""
	}
	return "packages stay independent and meet at standard types such as net.Conn; who may import whom stands in rules in internal/archtest/imports_test.go"
}

// ruleFor returns the rule for a folder and the folder that it was made for.
func ruleFor(dir string) (string, rule) {
	for d := dir; ; {
		if r, ok := rules[d]; ok {
			return d, r
		}
		i := strings.LastIndexByte(d, '/')
		if i < 0 {
			return "", rule{}
		}
		d = d[:i]
	}
}

// checkTop says which folders at the top do not belong there.
func checkTop(m *module) (c complaints) {
	for _, dir := range m.top {
		if !slices.Contains(topFolders, dir) {
			c.add("%s: no such folder in the design; the top of the tree is %s", dir, strings.Join(topFolders, " "))
		}
	}
	for _, p := range m.pkgs {
		switch {
		case p.dir == ".":
			c.add("the root holds %s: packages have folders of their own", slices.Concat(p.files, p.tests)[0].path)
		case first(p.dir) == "bench":
			c.add("%s: bench is a nested module: it needs a bench/go.mod", p.dir)
		case slices.Contains(libraries, first(p.dir)) && p.name == "main":
			c.add("%s: programs live in examples/", p.dir)
		case p.importable() && p.name != p.dir[strings.LastIndexByte(p.dir, '/')+1:]:
			c.add("%s: the package is called %s: package and folder have the same name", p.dir, p.name)
		}
	}
	return c
}

var directive = regexp.MustCompile(`(?m)^(replace|exclude|toolchain|tool|retract)\b`)

// checkGoMod says what go.mod has beyond requirements. It does not judge
// those: go mod tidy -diff does.
func checkGoMod(m *module) (c complaints) {
	text, err := fs.ReadFile(m.fsys, "go.mod")
	if err != nil {
		c.add("no go.mod: %v", err)
		return c
	}
	for _, word := range []string{"module " + modulePath, "go 1.26.0"} {
		if !slices.Contains(strings.Split(string(text), "\n"), word) {
			c.add("go.mod: no line %q", word)
		}
	}
	for _, d := range directive.FindAllString(string(text), -1) {
		if d != "retract" { // that is how a release is taken back
			c.add("go.mod: a %s line: importers of the module would be hindered, or never see it", d)
		}
	}
	return c
}

func TestImports(t *testing.T) { inspect(t, checkImports) }
func TestTop(t *testing.T)     { inspect(t, checkTop) }
func TestGoMod(t *testing.T)   { inspect(t, checkGoMod) }

// importing is a file of package name that imports paths.
func importing(name string, paths ...string) string {
	text := "package " + name + "\n\nimport (\n"
	for _, p := range paths {
		text += "\t_ " + strconv.Quote(p) + "\n"
	}
	return text + ")\n"
}

func TestImportsPlanted(t *testing.T) {
	t.Parallel()
	const ours = modulePath + "/"
	one := func(file, path string) map[string]string {
		return map[string]string{file: importing("p", path)}
	}
	plantAll(t, checkImports, nil, []plant{
		{"all that is allowed", map[string]string{
			"framing/a.go":            importing("framing", "net", "log/slog", "math/rand/v2"),
			"framing/a_test.go":       importing("framing_test", testify+"/require", ours+"udprel/simnet", ours+"internal/interop", "math/rand"),
			"codec/a.go":              importing("codec", ours+"framing", "golang.org/x/text/encoding", "golang.org/x/net/idna"),
			"udprel/a.go":             importing("udprel", ours+"udprel/window"),
			"udprel/simnet/a.go":      importing("simnet", ours+"udprel/simnet/internal/pcg"),
			"dnsx/dnstest/a.go":       importing("dnstest", ours+"dnsx", "testing"),
			"mq/a.go":                 importing("mq", ours+"framing", ours+"codec"),
			"mq/broker/a.go":          importing("broker", ours+"mq", ours+"framing", "go.etcd.io/bbolt"),
			"mapreduce/a.go":          importing("mapreduce", ours+"framing", "encoding/gob"),
			"internal/interop/a.go":   importing("interop", "testing", testify+"/require"),
			"examples/web/proxy/a.go": importing("main", ours+"httpx", ours+"internal/testcert", ours+"examples/internal/cli", "example.com/chart", "flag"),
		}, ""},
		{"framing imports codec", one("framing/a.go", ours+"codec"), "framing may not import codec"},
		{"framing imports a module", one("framing/a.go", "golang.org/x/sync/errgroup"), "framing may not import golang.org/x/sync/errgroup"},
		{"only on one system", one("framing/a_windows.go", ours+"tlsx"), "framing/a_windows.go:4: framing may not import tlsx"},
		{"httpx imports cache", one("httpx/a.go", ours+"cache"), "httpx may not import cache"},
		{"mq imports tlsx", one("mq/a.go", ours+"tlsx"), "mq may not import tlsx"},
		{"mq imports what broker may", one("mq/a.go", "go.etcd.io/bbolt"), "mq may not import go.etcd.io/bbolt"},
		{"mapreduce imports a module", one("mapreduce/a.go", "golang.org/x/sync/errgroup"), "mapreduce may not import"},
		{"a name that only starts alike", one("codec/a.go", "golang.org/x/textual"), "codec may not import golang.org/x/textual"},
		{"the module's root", one("cache/a.go", modulePath), "cache may not import"},
		{"library imports internal", one("tlsx/a.go", ours+"internal/testcert"), "tests and examples only"},
		{"library imports simnet", one("udprel/a.go", ours+"udprel/simnet"), "tests and examples only"},
		{"library imports dnstest", one("dnsx/a.go", ours+"dnsx/dnstest"), "tests and examples only"},
		{"simnet imports udprel", one("udprel/simnet/a.go", ours+"udprel"), "udprel/simnet may not import udprel"},
		{"dnstest imports simnet", one("dnsx/dnstest/a.go", ours+"udprel/simnet"), "tests and examples only"},
		{"library imports testify", one("cache/a.go", testify+"/require"), "cache may not import " + testify},
		{"library imports testing", one("cache/a.go", "testing/synctest"), "that is for tests"},
		{"library imports an example", one("cache/a.go", ours+"examples/internal/cli"), "nothing imports an example"},
		{"a test imports an example", one("cache/a_test.go", ours+"examples/internal/cli"), "not even a test"},
		{"internal imports a library", one("internal/testcert/a.go", ours+"tlsx"), "internal/testcert may not import tlsx"},
		{"math/rand", one("cache/a.go", "math/rand"), "math/rand/v2"},
		{"log", one("cache/a.go", "log"), "slog"},
		{"log in an example", one("examples/web/proxy/a.go", "log"), "slog"},
		{"unsafe", one("cache/a.go", "unsafe"), "unsafeFiles"},
		{"json/v2", one("codec/a.go", "encoding/json/v2"), "experiment"},
		{"flag", one("codec/a.go", "flag"), "flags belong to programs"},
	})
}

func TestTopPlanted(t *testing.T) {
	t.Parallel()
	ground := map[string]string{
		"framing/a.go":       "package framing\n",
		"udprel/simnet/a.go": "package simnet\n",
		"examples/main.go":   "package main\n",
		"bench/go.mod":       "module bench\n",
		"bench/mq/a.go":      "package main\n",
		".ci/run":            "#!/bin/sh\n",
		"README.md":          "x\n",
	}
	plantAll(t, checkTop, ground, []plant{
		{"good", nil, ""},
		{"a folder more", map[string]string{"util/a.go": "package util\n"}, "util: no such folder"},
		{"a folder without Go", map[string]string{"docs/a.md": "x"}, "docs: no such folder"},
		{"Go at the root", map[string]string{"a.go": "package zocalo\n"}, "the root holds a.go"},
		{"bench not nested", map[string]string{"bench/go.mod": ""}, "bench is a nested module"},
		{"a program in a library", map[string]string{"mq/tool/a.go": "package main\n"}, "programs live in examples"},
		{"another name", map[string]string{"mq/a.go": "package zmq\n"}, "the package is called zmq"},
	})
}

func TestGoModPlanted(t *testing.T) {
	t.Parallel()
	const good = "module " + modulePath + "\n\ngo 1.26.0\n\nrequire golang.org/x/net v0.62.0\n\nretract v0.0.1\n"
	file := func(text string) map[string]string { return map[string]string{"go.mod": text} }
	plantAll(t, checkGoMod, nil, []plant{
		{"good", file(good), ""},
		{"missing", nil, "no go.mod"},
		{"replace", file(good + "replace a => ../a\n"), "a replace line"},
		{"replace block", file(good + "replace (\n\ta => ../a\n)\n"), "a replace line"},
		{"toolchain", file(good + "toolchain go1.26.8\n"), "a toolchain line"},
		{"tool", file(good + "tool golang.org/x/tools/cmd/stringer\n"), "a tool line"},
		{"a later patch release", file(strings.Replace(good, "1.26.0", "1.26.8", 1)), `no line "go 1.26.0"`},
		{"another path", file(strings.Replace(good, "zocalo-go/zocalo", "x/y", 1)), "no line \"module"},
	})
}

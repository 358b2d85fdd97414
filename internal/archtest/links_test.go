package archtest

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// A docLink is a link in a doc comment that go doc would make without looking
// whether it leads anywhere, or would make if the name were there.
type docLink struct {
	at         string // the declaration
	pkg        *pkg   // that the comment belongs to
	exported   bool   // whether go doc shows the comment
	importPath string // "" is pkg itself
	recv, name string // "" if the link is to a package
}

// String is the link as it stands in the source.
func (l docLink) String() string {
	var parts []string
	for _, s := range []string{l.importPath, l.recv, l.name} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return "[" + strings.Join(parts, ".") + "]"
}

// checkLinks says which doc links and link definitions are broken. Links into
// this module are looked up as go doc does, in the exported names (for the
// comment of an unexported declaration, in all); so a method that a type has
// only by embedding needs a link to where it is declared. Links to other
// packages, for which go doc does not look, are looked up by type.
//
// foreign imports packages from outside the module; one that it does not know
// it leaves out.
func checkLinks(foreign func(paths []string) (map[string]*types.Package, error)) func(*module) complaints {
	return func(m *module) (c complaints) {
		var links []docLink
		public := make(map[*pkg]*comment.Parser)
		private := make(map[*pkg]*comment.Parser)
		for _, p := range m.pkgs {
			if len(p.files) == 0 {
				continue
			}
			d, _, err := m.doc(p, 0)
			if err == nil {
				public[p] = d.Parser()
				d, _, err = m.doc(p, doc.AllDecls)
			}
			if err != nil {
				c.add("%s: %v", p.dir, err)
				continue
			}
			private[p] = d.Parser()
			for _, s := range p.files {
				for _, note := range notes(s, p.name == "main") {
					links = append(links, c.parseLinks(p, note, private[p])...)
				}
			}
		}

		var paths []string
		for _, l := range links {
			if l.importPath != "" && !within(l.importPath, modulePath) {
				paths = append(paths, l.importPath)
			}
		}
		slices.Sort(paths)
		others, err := foreign(slices.Compact(paths))
		if err != nil {
			c.add("no types of the packages that doc links name: %v", err)
		}

		for _, l := range links {
			target := l.pkg
			if l.importPath != "" && !within(l.importPath, modulePath) {
				if other := others[l.importPath]; other == nil {
					c.add("%s: the doc link %s leads to no package of the standard library or of a module in go.mod", l.at, l)
				} else if l.name != "" && !declared(other, l.recv, l.name) {
					c.add("%s: the doc link %s leads nowhere: package %s has no such name", l.at, l, l.importPath)
				}
				continue
			}
			if l.importPath != "" {
				target = m.find(path.Join(".", strings.TrimPrefix(strings.TrimPrefix(l.importPath, modulePath), "/")))
				if target == nil || len(target.files) == 0 {
					c.add("%s: the doc link %s leads to no package of this module", l.at, l)
					continue
				}
			}
			lookup := public[target].LookupSym
			if target == l.pkg && !l.exported {
				lookup = private[target].LookupSym
			}
			if l.name != "" && !lookup(l.recv, l.name) {
				why := "there is no such name (for no link, leave out the brackets)"
				if target == l.pkg && private[target].LookupSym(l.recv, l.name) {
					why = "go doc does not show that declaration"
				}
				c.add("%s: the doc link %s leads nowhere: %s", l.at, l, why)
			}
		}
		return c
	}
}

// A note is a doc comment and what it stands at.
type note struct {
	at       string
	text     string
	exported bool
}

// notes lists the doc comments of a file: of the package, its declarations,
// and their fields and methods. Those of a program count as not exported.
func notes(s *source, program bool) (list []note) {
	add := func(pos token.Pos, exported bool, groups ...*ast.CommentGroup) {
		for _, g := range groups {
			if g.Text() != "" {
				list = append(list, note{s.at(pos), g.Text(), exported && !program})
			}
		}
	}
	add(s.ast.Package, true, s.ast.Doc)
	for _, decl := range s.ast.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			recv := receiver(decl)
			add(decl.Pos(), decl.Name.IsExported() && (recv == "" || ast.IsExported(recv)), decl.Doc)
		case *ast.GenDecl:
			exported := false
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					exported = exported || spec.Name.IsExported()
					add(spec.Pos(), spec.Name.IsExported(), spec.Doc, spec.Comment)
					ast.Inspect(spec.Type, func(n ast.Node) bool {
						if f, ok := n.(*ast.Field); ok {
							shown := spec.Name.IsExported() && slices.ContainsFunc(f.Names, (*ast.Ident).IsExported)
							add(f.Pos(), shown, f.Doc, f.Comment)
						}
						return true
					})
				case *ast.ValueSpec:
					shown := slices.ContainsFunc(spec.Names, (*ast.Ident).IsExported)
					exported = exported || shown
					add(spec.Pos(), shown, spec.Doc, spec.Comment)
				}
			}
			add(decl.Pos(), exported, decl.Doc)
		}
	}
	return list
}

// parseLinks finds the doc links of a comment, and complains about what was
// to be a link but is none, and of link definitions.
func (c *complaints) parseLinks(p *pkg, n note, names *comment.Parser) (links []docLink) {
	// With a lookup that finds everything the parser makes a link of each text
	// in brackets that could be one.
	parser := comment.Parser{
		LookupPackage: names.LookupPackage,
		LookupSym:     func(recv, name string) bool { return true },
	}
	parsed := parser.Parse(n.text)
	var walk func(texts []comment.Text)
	walk = func(texts []comment.Text) {
		for _, t := range texts {
			switch t := t.(type) {
			case comment.Plain:
				c.leftovers(n, string(t), names)
			case *comment.Link:
				walk(t.Text)
			case *comment.DocLink:
				links = append(links, docLink{n.at, p, n.exported, t.ImportPath, t.Recv, t.Name})
			}
		}
	}
	var blocks func(list []comment.Block)
	blocks = func(list []comment.Block) {
		for _, b := range list {
			switch b := b.(type) {
			case *comment.Heading:
				walk(b.Text)
			case *comment.Paragraph:
				walk(b.Text)
			case *comment.List:
				for _, item := range b.Items {
					blocks(item.Content)
				}
			}
		}
	}
	blocks(parsed.Content)
	for _, def := range parsed.Links {
		if !def.Used {
			c.add("%s: the link definition [%s] is not used: write [%[2]s] in the text", n.at, def.Text)
		}
		if u, err := url.Parse(def.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			c.add("%s: the link definition [%s] has no web address: %q", n.at, def.Text, def.URL)
		}
	}
	return links
}

var (
	brackets   = regexp.MustCompile(`\[([^][]{1,100})\]`)
	wordBefore = regexp.MustCompile(`[\pL\pN)\]]$`)
	wordAfter  = regexp.MustCompile(`^[\pL\pN]`)
	identifier = regexp.MustCompile(`^\*?[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*$`)
)

// leftovers complains about brackets that the comment parser left alone
// although their author meant a link, as far as one can tell.
func (c *complaints) leftovers(n note, text string, names *comment.Parser) {
	for _, at := range brackets.FindAllStringSubmatchIndex(text, -1) {
		inside := text[at[2]:at[3]]
		joined := strings.Join(strings.Fields(inside), " ")
		if wordBefore.MatchString(text[:at[0]]) {
			continue // an index or a type argument
		}
		if !identifier.MatchString(inside) {
			if r := []rune(joined); unicode.IsUpper(r[0]) && strings.Contains(joined, " ") && !strings.Contains(joined, ",") {
				c.add("%s: no definition of the link [%s]: add a line \"[%[2]s]: https://…\" at the end of this comment", n.at, joined)
			}
			continue
		}
		elems := strings.Split(strings.TrimPrefix(inside, "*"), ".")
		head, last := elems[0], elems[len(elems)-1]
		switch {
		case ast.IsExported(last) && wordAfter.MatchString(text[at[1]:]):
			c.add("%s: [%s] is no link, because of the letter after it: put a space or an apostrophe there", n.at, inside)
		case ast.IsExported(last) && len(elems) > 1 && !ast.IsExported(head):
			if !n.exported && names.LookupSym(strings.Join(elems[:len(elems)-1], "."), last) {
				continue // a method of an unexported type, in a comment that only readers of the source see
			}
			c.add("%s: [%s] is no link: the package imports no %s; write the whole import path", n.at, inside, head)
		case !ast.IsExported(last) && n.exported && len(elems) == 1 && names.LookupSym("", head),
			!ast.IsExported(last) && n.exported && len(elems) == 2 && names.LookupSym(head, last):
			c.add("%s: [%s] is no link: go doc does not link names that are not exported; leave out the brackets", n.at, inside)
		case !ast.IsExported(last) && ast.IsExported(head) && len(elems) == 2 && !names.LookupSym(head, last):
			c.add("%s: [%s] is no link: %s has no %s", n.at, inside, head, last)
		}
	}
}

// declared reports whether a package has an exported name, or a type recv with
// such a method or field, be it by embedding.
func declared(p *types.Package, recv, name string) bool {
	if recv == "" {
		o := p.Scope().Lookup(name)
		return o != nil && o.Exported()
	}
	t, ok := p.Scope().Lookup(recv).(*types.TypeName)
	if !ok {
		return false
	}
	o, _, _ := types.LookupFieldOrMethod(t.Type(), true, p, name)
	return o != nil && o.Exported()
}

// compiled imports packages from what the compiler left in the build cache,
// as seen from the module's root. Unknown packages are left out.
func compiled(paths []string) (map[string]*types.Package, error) {
	found := make(map[string]*types.Package)
	if len(paths) == 0 {
		return found, nil
	}
	cmd := exec.Command("go", append([]string{"list", "-e", "-export", "-f", "{{.ImportPath}}\t{{.Export}}", "--"}, paths...)...)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return found, err
	}
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		name, file, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		files[name] = file
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(name string) (io.ReadCloser, error) {
		return os.Open(files[name])
	})
	for _, name := range paths {
		if files[name] == "" {
			continue
		}
		p, err := imp.Import(name)
		if err != nil {
			return found, fmt.Errorf("%s: %w", name, err)
		}
		found[name] = p
	}
	return found, nil
}

func TestLinks(t *testing.T) { inspect(t, checkLinks(compiled)) }

func TestLinksPlanted(t *testing.T) {
	t.Parallel()
	// One call of the go command serves all plants.
	known, err := compiled([]string{"io", "net", "net/http", "os", "no/such/package"})
	if err != nil {
		t.Fatal(err)
	}
	if len(known) != 4 {
		t.Fatalf("%d packages, want io, net, net/http and os", len(known))
	}
	foreign := func(paths []string) (map[string]*types.Package, error) { return known, nil }

	ground := docGround()
	const at = "framing/reader.go"
	with := func(old, new string) map[string]string {
		if !strings.Contains(ground[at], old) {
			t.Fatalf("no %q to replace", old)
		}
		return map[string]string{at: strings.Replace(ground[at], old, new, 1)}
	}
	public := func(text string) map[string]string { return with("// Next is next.", "// Next is next: "+text) }
	private := func(text string) map[string]string { return with("// peek looks", "// peek "+text+" looks") }
	define := func(text, def string) map[string]string {
		return with("// Next is next.", "// Next is next: "+text+"\n//\n// "+def)
	}
	plantAll(t, checkLinks(foreign), ground, []plant{
		{"good", nil, ""},
		{"a name", public("[Writer]"), "framing/reader.go:14: the doc link [Writer] leads nowhere: there is no such name"},
		{"a method", public("[Reader.Previous]"), "[Reader.Previous] leads nowhere"},
		{"a field", public("[Reader.MinSize]"), "[Reader.MinSize] leads nowhere"},
		{"a field that is there", public("[Reader.MaxSize]"), ""},
		{"a pointer", public("[*Writer]"), "[Writer] leads nowhere"},
		{"in a list", with("// Next is next.", "// Next is next:\n//\n//   - by [Writer]"), "[Writer] leads nowhere"},
		{"in a heading of the package doc", map[string]string{"framing/doc.go": strings.Replace(ground["framing/doc.go"], "[Reader.MaxSize] bytes", "[Reader.Size] bytes", 1)}, "[Reader.Size] leads nowhere"},
		{"in the comment of a field", with("see [NewReader]", "see [NewWriter]"), "[NewWriter] leads nowhere"},
		{"in code", with("// Next is next.", "// Next is next:\n//\n//\tx[Writer] [Writer] [RFC 1]"), ""},
		{"by import name", public("[io.Redaer]"), "[io.Redaer] leads nowhere: package io has no such name"},
		{"a method elsewhere", public("[io.Reader.Red]"), "[io.Reader.Red] leads nowhere"},
		{"by embedding elsewhere", public("[net.TCPConn.Close]"), ""},
		{"a field elsewhere", public("[net/http.Client.Timeout] [net/http.Client.Timout]"), "Timout] leads nowhere"},
		{"by alias elsewhere", public("[os.FileInfo.Size] [os.FileInfo.Sizes]"), "Sizes] leads nowhere"},
		{"no such package", public("[no/such/package.Name]"), "leads to no package of the standard"},
		{"a package", public("[net/http] [io] [" + modulePath + "/framing]"), ""},
		{"not imported", public("[http.Client]"), "imports no http"},
		{"a package of ours", public("[" + modulePath + "/framing.Reader.Next] [" + modulePath + "/framing.Rider]"), "Rider] leads nowhere"},
		{"no package of ours", public("[" + modulePath + "/farming.Reader]"), "no package of this module"},
		{"by its own name", public("[framing.Reader] [framing.Rider]"), "[Rider] leads nowhere"},
		{"a letter after it", public("two [Reader]s"), "because of the letter"},
		{"an apostrophe after it", public("a [Reader]'s"), ""},
		{"not exported", public("[peek]"), "names that are not exported"},
		{"method not exported", public("[Reader.nxt]"), "Reader has no nxt"},
		{"method of a type not exported", private("[secret.run]"), ""},
		{"missing, in a comment that go doc does not show", private("[Writer]"), "[Writer] leads nowhere"},
		{"in a program", map[string]string{"examples/main.go": "package main\n\n// Run is [run] and [Ran].\nfunc Run() {}\n\nfunc run() {}\n"}, "[Ran] leads nowhere"},
		{"promoted", with("// Next is next.", "// An Outer has [Outer.Close].\ntype Outer struct{ io.Closer }\n\n// Next is next."), "[Outer.Close] leads nowhere"},
		{"what is no link", public("a[Reader] m[K, V] [0, 1) [x] [ctx] [a, b] [-port N] [Aa, Bb Cc]"), ""},
		{"a definition", define("as [RFC 1 section 2] says", "[RFC 1 section 2]: https://example.org/1"), ""},
		{"a definition, the link over two lines", define("as [RFC 1\n// section 2] says", "[RFC 1 section 2]: https://example.org/1"), ""},
		{"no definition", public("as [RFC 1 section 2] says"), "no definition of the link [RFC 1 section 2]"},
		{"definition not used", define("it says", "[RFC 1]: https://example.org/1"), "the link definition [RFC 1] is not used"},
		{"definition of nothing", define("as [RFC 1] says", "[RFC 1]: gopher://x/1"), "no web address"},
	})
	t.Run("no types", func(t *testing.T) {
		t.Parallel()
		none := func([]string) (map[string]*types.Package, error) { return nil, errors.New("no go command") }
		got := strings.Join(checkLinks(none)(planted(t, docGround())), "\n")
		if !strings.Contains(got, "no go command") {
			t.Errorf("complaints:\n%s", got)
		}
	})
}

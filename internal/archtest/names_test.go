package archtest

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// checkNames says which exported names lack a doc comment, in every package
// that another can import. What counts as documented:
//
//   - a function, method or type: a comment that begins with its name, after an article if it reads better so
//   - a constant: a comment of its own, before or behind it, or one for its group
//   - a variable, a method of an interface: a comment of its own
//   - a field of a struct: the same, or its name in the comment of the struct, or in the one
//     before an earlier field of the same unbroken block
//
// Embedded fields speak for themselves.
func checkNames(m *module) (c complaints) {
	for _, p := range m.pkgs {
		if p.name == "main" {
			continue
		}
		for _, s := range p.files {
			for _, decl := range s.ast.Decls {
				switch decl := decl.(type) {
				case *ast.FuncDecl:
					recv := receiver(decl)
					if decl.Name.IsExported() && (recv == "" || ast.IsExported(recv)) {
						name := decl.Name.Name
						if recv != "" {
							name = recv + "." + name
						}
						c.begins(s, decl.Pos(), name, decl.Name.Name, decl.Doc)
					}
				case *ast.GenDecl:
					c.specs(s, decl)
				}
			}
		}
	}
	return c
}

// receiver is the name of a method's type, without star and type parameters,
// or "" for a function.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return ""
	}
	return baseName(f.Recv.List[0].Type)
}

// baseName is the name in a type expression without star and type arguments;
// "" for a type that is not of this package, or has no name.
func baseName(t ast.Expr) string {
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.ParenExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// begins looks at the comment of a function or type.
func (c *complaints) begins(s *source, pos token.Pos, full, name string, doc *ast.CommentGroup) {
	words := strings.Fields(doc.Text())
	if len(words) == 0 {
		c.add("%s: %s has no doc comment", s.at(pos), full)
		return
	}
	if len(words) > 1 && slices.Contains([]string{"A", "An", "The"}, words[0]) {
		words = words[1:]
	}
	if strings.TrimRight(strings.TrimSuffix(words[0], "'s"), ".,:;") != name {
		c.add("%s: the doc comment of %s begins with %q: begin with the name (A, An or The may precede it)", s.at(pos), full, words[0])
	}
}

// specs looks at a declaration of constants, variables or types.
func (c *complaints) specs(s *source, decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			doc := spec.Doc
			if doc == nil && len(decl.Specs) == 1 {
				doc = decl.Doc
			}
			c.begins(s, spec.Pos(), spec.Name.Name, spec.Name.Name, doc)
			c.members(s, spec.Name.Name, doc.Text(), spec.Type)
		case *ast.ValueSpec:
			if spec.Doc.Text() != "" || spec.Comment.Text() != "" {
				continue
			}
			if decl.Doc.Text() != "" && (decl.Tok == token.CONST || len(decl.Specs) == 1) {
				continue
			}
			for _, name := range spec.Names {
				if name.IsExported() {
					c.add("%s: %s has no doc comment", s.at(name.Pos()), name.Name)
				}
			}
		}
	}
}

// members looks at the fields of a struct and the methods of an interface.
// ownerDoc is the comment of the type that they belong to.
func (c *complaints) members(s *source, owner, ownerDoc string, t ast.Expr) {
	switch t := t.(type) {
	case *ast.StarExpr:
		c.members(s, owner, ownerDoc, t.X)
	case *ast.ArrayType:
		c.members(s, owner, ownerDoc, t.Elt)
	case *ast.MapType:
		c.members(s, owner, ownerDoc, t.Value)
	case *ast.InterfaceType:
		for _, f := range t.Methods.List {
			for _, name := range f.Names {
				if name.IsExported() && f.Doc.Text() == "" && f.Comment.Text() == "" {
					c.add("%s: %s.%s has no doc comment", s.at(f.Pos()), owner, name.Name)
				}
			}
		}
	case *ast.StructType:
		line := func(pos token.Pos) int { return s.fset.Position(pos).Line }
		covering := "" // the last comment before a field of this block
		end := 0       // the line on which the last field ended
		for _, f := range t.Fields.List {
			start := line(f.Pos())
			if f.Doc != nil {
				start = line(f.Doc.Pos())
			}
			if start > end+1 {
				covering = ""
			}
			end = line(f.End())
			if f.Doc.Text() != "" {
				covering = f.Doc.Text()
			}
			for _, name := range f.Names {
				if !name.IsExported() {
					continue
				}
				if f.Doc.Text() == "" && f.Comment.Text() == "" && !mentions(covering, name.Name) && !mentions(ownerDoc, name.Name) {
					c.add("%s: %s.%s has no doc comment", s.at(f.Pos()), owner, name.Name)
				}
				c.members(s, owner+"."+name.Name, f.Doc.Text()+f.Comment.Text(), f.Type)
			}
		}
	}
}

// mentions reports whether a name stands in a text as a word of its own.
func mentions(text, name string) bool {
	return regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(text)
}

var sentinel = regexp.MustCompile(`^Err[A-Z]`)

// checkGlobals says which packages act when they are merely imported, or
// offer variables that anyone may set. A sentinel error is the exception,
// since no other form works with errors.Is.
func checkGlobals(m *module) (c complaints) {
	for _, p := range m.pkgs {
		if p.name == "main" || first(p.dir) == "examples" {
			continue
		}
		for _, s := range p.files {
			for _, decl := range s.ast.Decls {
				switch decl := decl.(type) {
				case *ast.FuncDecl:
					if decl.Recv == nil && decl.Name.Name == "init" {
						c.add("%s: an init function: importing a package must do nothing; use sync.OnceValue, or a literal", s.at(decl.Pos()))
					}
				case *ast.GenDecl:
					if decl.Tok != token.VAR {
						continue
					}
					for _, spec := range decl.Specs {
						for _, name := range spec.(*ast.ValueSpec).Names {
							if name.IsExported() && !sentinel.MatchString(name.Name) {
								c.add("%s: %s is an exported variable: make it a constant, a function or a field (sentinel errors are called Err…)", s.at(name.Pos()), name.Name)
							}
						}
					}
				}
			}
		}
	}
	return c
}

func TestNames(t *testing.T)   { inspect(t, checkNames) }
func TestGlobals(t *testing.T) { inspect(t, checkGlobals) }

func TestNamesPlanted(t *testing.T) {
	t.Parallel()
	const good = `package framing

// MaxWidth is a constant.
const MaxWidth = 8

// States of a reader.
const (
	Idle = iota
	Busy
)

// ErrOne is one.
var ErrOne = 1

var (
	// ErrTwo is two.
	ErrTwo   = 2
	ErrThree = 3 // three
	hidden   = 4
)

// A Reader reads.
type Reader struct {
	MaxSize int // in bytes; 0 means 1 MiB
	// Low and High are marks.
	Low int
	High int
	hidden int
	Conn
}

// Conn's zero value is ready.
type Conn struct{}

// A Pair is generic.
type Pair[K, V any] struct{}

// Left is the key.
func (p *Pair[K, V]) Left() (k K) { return k }

// The Format interface is small.
type Format interface {
	// Encode encodes.
	Encode()
	Decode() // decodes
	hidden()
}

// Next is next.
func (*Reader) Next() {}

// New makes a Reader.
func New() *Reader { return nil }

// A Size is a pair: Got is more than Max.
type Size struct{ Got, Max int }

type secret struct{ Field int }

func (secret) Method() {}

func private() {}
`
	with := func(old, new string) map[string]string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q to replace", old)
		}
		return map[string]string{"framing/a.go": strings.Replace(good, old, new, 1)}
	}
	ground := map[string]string{"examples/web/proxy/a.go": "package main\n\nfunc Undocumented() {}\n"}
	plantAll(t, checkNames, ground, []plant{
		{"good", map[string]string{"framing/a.go": good}, ""},
		{"another name", with("// A Pair is", "// An Any[T] is"), `the doc comment of Pair begins with "Any[T]"`},
		{"constant", with("// MaxWidth is a constant.", ""), "framing/a.go:4: MaxWidth has no doc"},
		{"variable", with("// ErrOne is one.", ""), "ErrOne has no doc"},
		{"variable of a group", with("3 // three", "3"), "ErrThree has no doc"},
		{"type", with("// Conn's zero value is ready.", ""), "Conn has no doc"},
		{"field", with("int // in bytes; 0 means 1 MiB", "int"), "Reader.MaxSize has no doc"},
		{"field that the comment before leaves out", with("Low and High are marks", "Low is a mark"), "Reader.High has no doc"},
		{"field of another block", with("\tHigh int", "\n\tHigh int"), "Reader.High has no doc"},
		{"field in a field", with("struct{}\n\n// A Pair", "struct {\n\tIn struct{ X int } // in\n}\n\n// A Pair"), "Conn.In.X has no doc"},
		{"field that the type leaves out", with("more than Max", "more"), "Size.Max has no doc"},
		{"interface method", with("Decode() // decodes", "Decode()"), "Format.Decode has no doc"},
		{"function", with("// New makes a Reader.", ""), "New has no doc"},
		{"method", with("// Next is next.", ""), "Reader.Next has no doc"},
		{"method of a generic type", with("// Left is the key.", ""), "Pair.Left has no doc"},
		{"method begun otherwise", with("// Next is next.", "// Gives the next."), `Reader.Next begins with "Gives"`},
		{"a directive is no comment", with("// New makes a Reader.", "//go:noinline"), "New has no doc"},
		{"internal packages too", map[string]string{"internal/interop/a.go": "package interop\n\nfunc F() {}\n"}, "F has no doc"},
	})
}

func TestGlobalsPlanted(t *testing.T) {
	t.Parallel()
	file := func(text string) map[string]string {
		return map[string]string{"cache/a.go": "package cache\n\n" + text + "\n"}
	}
	plantAll(t, checkGlobals, nil, []plant{
		{"good", file("var ErrMiss, hidden = 1, 2\n\nvar _ int = 1\n\nconst Max = 3\n\ntype t struct{}\n\nfunc (t) init() {}"), ""},
		{"init", file("func init() {}"), "cache/a.go:3: an init function"},
		{"variable", file("var Default = 1"), "Default is an exported variable"},
		{"one of several", file("var (\n\ta, B = 1, 2\n)"), "B is an exported variable"},
		{"nearly a sentinel", file("var Errors = 1"), "Errors is an exported variable"},
		{"in a program", map[string]string{"examples/a.go": "package main\n\nvar X = 1\n\nfunc init() {}\n"}, ""},
	})
}

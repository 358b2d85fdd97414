package archtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A consumer is the module of a student in a folder of its own, which imports
// this module from a checkout and never asks the network.
type consumer struct {
	dir string
	env []string // added to this process's environment
}

// newConsumer makes the module, with a go.mod as a student would write it.
// checkout is the folder of the module that it imports.
func newConsumer(t *testing.T, checkout string) *consumer {
	t.Helper()
	checkout, err := filepath.Abs(checkout)
	if err != nil {
		t.Fatal(err)
	}
	c := &consumer{
		dir: t.TempDir(),
		env: []string{"GOFLAGS=-mod=mod -modcacherw -buildvcs=false", "GOPROXY=off", "GOWORK=off", "GOTOOLCHAIN=local"},
	}
	c.write(t, "go.mod", fmt.Sprintf("module student\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %[1]s => %s\n",
		modulePath, strconv.Quote(filepath.ToSlash(checkout))))
	return c
}

// write makes a file in the consumer's folder.
func (c *consumer) write(t *testing.T, name, text string) {
	t.Helper()
	name = filepath.Join(c.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// run runs the go command in the consumer's folder. The error holds what it
// said.
func (c *consumer) run(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), c.env...)
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s go %s: %w\n%s%s",
			strings.Join(c.env, " "), strings.Join(args, " "), err, problems.String(), out.String())
	}
	return out.String(), nil
}

// importable lists the import paths of the packages that another module can
// import.
func importable(m *module) (paths []string) {
	for _, p := range m.pkgs {
		if len(p.files) > 0 && p.name != "main" && !p.internal() {
			paths = append(paths, p.importPath())
		}
	}
	return paths
}

// program is the source of a program that imports framing to use it, and
// others for nothing.
func program(others []string) string {
	var b strings.Builder
	b.WriteString("package main\n\nimport (\n\t\"fmt\"\n\n\t\"" + modulePath + "/framing\"\n")
	for _, p := range others {
		if p != modulePath+"/framing" {
			fmt.Fprintf(&b, "\t_ %q\n", p)
		}
	}
	b.WriteString(")\n\nfunc main() {\n\tmsg, err := framing.Append(framing.Netstring{}, nil, []byte(\"hola\"))\n\tfmt.Printf(\"%s %v\\n\", msg, err)\n}\n")
	return b.String()
}

// programPrints is what the program prints.
const programPrints = "4:hola, <nil>\n"

// importAll builds, vets and runs a program that imports all packages of the
// module in folder checkout, with that module's go.sum and the machine's
// module cache.
func importAll(t *testing.T, checkout string, paths []string) error {
	t.Helper()
	c := newConsumer(t, checkout)
	if sum, err := os.ReadFile(filepath.Join(checkout, "go.sum")); err == nil {
		c.write(t, "go.sum", string(sum))
	}
	c.write(t, "main.go", program(paths))
	if _, err := c.run(t, "build", "-o", os.DevNull, "./..."); err != nil {
		return err
	}
	if _, err := c.run(t, "vet", "./..."); err != nil {
		return err
	}
	out, err := c.run(t, "run", ".")
	if err == nil && out != programPrints {
		err = fmt.Errorf("the program printed %q, want %q", out, programPrints)
	}
	return err
}

// importLean builds, vets and runs a program that imports framing alone, with
// an empty module cache, no go.sum and no network: it must need none of the
// modules that this one's go.mod requires. (Only go mod tidy and go list -m all ask for
// more: they look at the tests of framing and at the whole module graph.)
func importLean(t *testing.T, checkout string) error {
	t.Helper()
	c := newConsumer(t, checkout)
	c.env = append(c.env, "GOMODCACHE="+t.TempDir())
	c.write(t, "main.go", program(nil))
	out, err := c.run(t, "run", ".")
	if err == nil && out != programPrints {
		err = fmt.Errorf("the program printed %q, want %q", out, programPrints)
	}
	if err == nil {
		_, err = c.run(t, "vet", "./...")
	}
	// Nothing that one of those commands wrote to go.mod may be needed.
	c.env = append(c.env, "GOFLAGS=-mod=readonly -modcacherw -buildvcs=false")
	if err == nil {
		_, err = c.run(t, "build", "-o", os.DevNull, "./...")
	}
	return err
}

// checkoutModule returns this module, or skips the test under -short: what follows
// compiles every package.
func checkoutModule(t *testing.T) *module {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: building a module outside this one takes a while")
	}
	t.Parallel()
	m, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	if m.find("framing") == nil {
		t.Fatal("package framing, which the consumer's program uses, is gone: change program in consumer_test.go")
	}
	return m
}

func TestConsumer(t *testing.T) {
	m := checkoutModule(t)
	if err := importAll(t, root, importable(m)); err != nil {
		t.Errorf("a module outside this one cannot import every package of it:\n%v", err)
	}
}

func TestConsumerLean(t *testing.T) {
	checkoutModule(t)
	if err := importLean(t, root); err != nil {
		t.Errorf("who imports framing alone needs more than this module:\n%v", err)
	}
}

// TestConsumerReadme builds and runs the README's program.
func TestConsumerReadme(t *testing.T) {
	checkoutModule(t)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	source, prints, missing := readmeProgram(string(readme))
	if len(missing) > 0 {
		t.Fatal(strings.Join(missing, "\n"))
	}
	if err := runReadme(t, root, source, prints); err != nil {
		t.Errorf("README.md: the program does not do what the text says:\n%v", err)
	}
}

// runReadme runs a program and compares what it prints, but for space at the
// end.
func runReadme(t *testing.T, checkout, source, prints string) error {
	t.Helper()
	c := newConsumer(t, checkout)
	if sum, err := os.ReadFile(filepath.Join(checkout, "go.sum")); err == nil {
		c.write(t, "go.sum", string(sum))
	}
	c.write(t, "main.go", source)
	out, err := c.run(t, "run", ".")
	if err == nil && strings.TrimSpace(out) != strings.TrimSpace(prints) {
		err = fmt.Errorf("it prints:\n%s\nthe text says:\n%s", out, prints)
	}
	return err
}

// TestConsumerPlanted proves that each of the tests above can fail, on a
// module that is like this one in nothing but its name.
func TestConsumerPlanted(t *testing.T) {
	checkoutModule(t)
	const good = "package framing\n\ntype Netstring struct{}\n\n" +
		"func Append(f Netstring, dst, msg []byte) ([]byte, error) { return append(dst, \"4:hola,\"...), nil }\n"
	goMod := "module " + modulePath + "\n\ngo 1.26.0\n\nrequire example.com/other v1.0.0\n"
	lay := func(t *testing.T, files map[string]string) string {
		c := &consumer{dir: t.TempDir()}
		for name, text := range files {
			c.write(t, name, text)
		}
		return c.dir
	}
	for _, test := range []struct {
		name  string
		extra string // a line after the package clause of framing
		paths []string
		all   string // in the error of importAll; "" means none
		lean  string // in the error of importLean; "" means none
	}{
		{"good", "", nil, "", ""},
		{"does not build", "var x int = \"\"\n", nil, "cannot use", "cannot use"},
		{"needs a module", "import _ \"example.com/other\"\n", nil, "example.com/other", "example.com/other"},
		{"a package that is not there", "", []string{modulePath + "/gone"}, modulePath + "/gone", ""},
		{"writes to standard error", "func init() { println(); print(1) }\n", nil, "", ""},
		{"prints more", "import \"fmt\"\n\nfunc init() { fmt.Println(1) }\n", nil, "printed \"1\\n4:hola", "printed \"1\\n4:hola"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := lay(t, map[string]string{
				"go.mod":       goMod,
				"framing/a.go": strings.Replace(good, "package framing\n\n", "package framing\n\n"+test.extra+"\n", 1),
			})
			wants(t, "importAll", importAll(t, dir, test.paths), test.all)
			wants(t, "importLean", importLean(t, dir), test.lean)
		})
	}
	t.Run("README", func(t *testing.T) {
		t.Parallel()
		dir := lay(t, map[string]string{"go.mod": goMod, "framing/a.go": good})
		wants(t, "runReadme", runReadme(t, dir, program(nil), programPrints), "")
		wants(t, "runReadme", runReadme(t, dir, program(nil), "hola"), "the text says:\nhola")
		wants(t, "runReadme", runReadme(t, dir, "package main\n", ""), "function main is undeclared")
	})
}

// wants compares an error with words that it must hold.
func wants(t *testing.T, what string, err error, words string) {
	t.Helper()
	switch {
	case words == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case words != "" && (err == nil || !strings.Contains(err.Error(), words)):
		t.Errorf("%s: error %v, want one with %q", what, err, words)
	}
}

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// module is the module whose exercises these are.
const module = "github.com/zocalo-go/zocalo"

// A builder makes programs of exercises with the go command: from the checkout
// around the current folder or, without one, from the version of the module
// that this program was itself built from.
type builder struct {
	goTool  string
	root    string // the checkout's top folder; empty outside
	version string // the module's version; empty in a checkout
	bin     string // where the programs go
	temp    string // where the go command works: on bin's file system, so that it renames and does not copy
}

// newBuilder finds out how exercises are built here.
func newBuilder() (*builder, error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return nil, errors.New("no go command on the PATH: it builds the exercises (https://go.dev/dl)")
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	info, _ := debug.ReadBuildInfo()
	b := &builder{goTool: goTool}
	b.root, b.version = source(info, here)
	if b.root == "" && b.version == "" {
		return nil, fmt.Errorf("no checkout of %s around this folder; run this in one, or anywhere: go run %s/examples@latest", module, module)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("no place to keep the programs: %w", err)
	}
	key := sha256.Sum256([]byte(b.root + "\x00" + b.version))
	b.bin = filepath.Join(cache, "zocalo", fmt.Sprintf("%x", key[:8]))
	b.temp = filepath.Join(b.bin, "tmp")
	if err := os.MkdirAll(b.temp, 0o755); err != nil {
		return nil, fmt.Errorf("no place to keep the programs: %w", err)
	}
	return b, nil
}

// source says where the exercises' code is: the top folder of a checkout, or
// the version of the module to ask the go command for; neither, if nothing
// tells. info describes this program, here is the current folder.
func source(info *debug.BuildInfo, here string) (root, version string) {
	ours := info != nil && info.Main.Path == module
	if ours && info.Main.Replace != nil {
		// A program of another module, with the line "replace … => ../folder".
		if dir, _ := moduleRoot(here, ""); dir != "" {
			folder := info.Main.Replace.Path
			if !filepath.IsAbs(folder) {
				folder = filepath.Join(dir, folder)
			}
			if root, name := moduleRoot(folder, ""); name == module {
				return root, ""
			}
		}
	}
	if ours && info.Main.Sum != "" {
		// Built from the module cache (only such modules have a sum), by
		// go run or go install with a version: the same version's exercises
		// belong to it, even inside a checkout of another.
		return "", info.Main.Version
	}
	root, _ = moduleRoot(here, module)
	return root, ""
}

// moduleRoot returns the nearest folder at or above dir whose go.mod is that
// of the module want, or of any if want is empty, and the module's name.
func moduleRoot(dir, want string) (root, name string) {
	for {
		if name := moduleName(filepath.Join(dir, "go.mod")); name != "" && (want == "" || name == want) {
			return dir, name
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", ""
		}
		dir = parent
	}
}

// moduleName returns the name in a go.mod file's module line, or nothing.
func moduleName(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) >= 2 && fields[0] == "module" {
			return strings.Trim(fields[1], "\"`")
		}
	}
	return ""
}

// path returns where the exercise's program is, once built.
func (b *builder) path(e *exercise) string {
	name := e.name
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(b.bin, name)
}

// build makes the programs of all the exercises with one go command, whose
// messages go to log. The go command itself knows what is up to date.
func (b *builder) build(ctx context.Context, log io.Writer, exercises ...*exercise) error {
	cmd := exec.CommandContext(ctx, b.goTool)
	cmd.Env = append(os.Environ(), "GOTMPDIR="+b.temp, "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	if b.root != "" {
		cmd.Dir = b.root
		cmd.Env = append(cmd.Env, "GOWORK=off")
		cmd.Args = append(cmd.Args, "build", "-buildvcs=false", "-o", b.bin+string(filepath.Separator))
		for _, e := range exercises {
			cmd.Args = append(cmd.Args, "./"+path.Join("examples", e.dir()))
		}
	} else {
		cmd.Env = append(cmd.Env, "GOBIN="+b.bin)
		cmd.Args = append(cmd.Args, "install")
		for _, e := range exercises {
			cmd.Args = append(cmd.Args, path.Join(module, "examples", e.dir())+"@"+b.version)
		}
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		names := make([]string, len(exercises))
		for i, e := range exercises {
			names[i] = e.id + " " + e.name
		}
		return fmt.Errorf("cannot build %s: go %s: %w", strings.Join(names, ", "), cmd.Args[1], err)
	}
	return nil
}

// become runs program with args, with this process's own streams and exit
// status. Where the system allows, the program takes this process's place, so
// that signals reach it and nothing stands between it and its user.
func (a *app) become(ctx context.Context, program string, args []string) error {
	if a.stdin == os.Stdin && a.stdout == os.Stdout && a.stderr == os.Stderr {
		err := replaceProcess(program, args)
		if !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("cannot start %s: %w", program, err)
		}
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return interrupt(cmd.Process) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() >= 0 {
		return cli.Status(exit.ExitCode())
	}
	return err
}

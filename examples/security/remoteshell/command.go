package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	maxLine  = 4096 // bytes of a command line
	maxWords = 256
)

// errRefused says that a command is not run, and why.
var errRefused = errors.New("refused")

// split cuts a line into words at blanks. Quotes keep blanks, '…' everything,
// "…" everything but \" and \\; a backslash outside keeps the next character.
// That is all: nothing is a variable, a pattern, a pipe or a second command.
func split(line string) (words []string, err error) {
	var word strings.Builder
	inWord := false
	var quote rune
	escaped := false
	for _, r := range line {
		switch {
		case r == 0:
			return nil, fmt.Errorf("%w: a zero byte", errRefused)
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				word.WriteRune('\\')
			}
			word.WriteRune(r)
			escaped = false
		case quote == '\'' && r != '\'', quote == '"' && r != '"' && r != '\\':
			word.WriteRune(r)
		case r == quote:
			quote = 0
		case r == '\\':
			escaped, inWord = true, true
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t' || r == '\n' || r == '\r':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
		if len(words) > maxWords {
			return nil, fmt.Errorf("%w: more than %d words", errRefused, maxWords)
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("%w: a quote is open at the end of the line", errRefused)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// A jail is where commands run and what they may be. Its walls are of paper:
// see the README.
type jail struct {
	dir      string // absolute, without symbolic links
	root     *os.Root
	anywhere bool
	allowed  []string
	any      bool // whatever is on the machine
	limit    time.Duration
	output   int // bytes that a command may print
}

// usualCommands run no other program, whatever their arguments, and change
// nothing but files.
const usualCommands = "cat,cp,date,echo,head,ls,mkdir,mv,pwd,rmdir,touch,uname,wc,whoami"

func newJail(dir, allow string, anywhere bool) (*jail, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	j := &jail{dir: dir, anywhere: anywhere, any: allow == "any"}
	if !j.any {
		j.allowed = strings.Split(allow, ",")
	}
	j.root, err = os.OpenRoot(dir)
	return j, err
}

// allowedCommand returns the program of that name, from the system's own
// folders and nowhere else: what lies in the working directory, or in a PATH
// that somebody has changed, is not meant.
func (j *jail) allowedCommand(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, `/\`) || !j.any && !slices.Contains(j.allowed, name) {
		return "", fmt.Errorf("%w: %q is not on the list of allowed commands", errRefused, name)
	}
	if runtime.GOOS == "windows" {
		path, err := exec.LookPath(name) // such as those that come with Git
		if err != nil {
			return "", fmt.Errorf("%w: %s: not on this machine", errRefused, name)
		}
		return path, nil
	}
	for _, dir := range []string{"/usr/bin", "/bin"} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: %s: not on this machine", errRefused, name)
}

// inside returns the path that name means in cwd, relative to the jail, if it
// lies in it and no symbolic link on the way leads out.
func (j *jail) inside(cwd, name string) (string, error) {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(cwd, name)
	}
	rel, err := filepath.Rel(j.dir, path)
	if err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%w: %q leads out of %s", errRefused, name, j.dir)
	}
	_, err = j.root.Stat(rel)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.EINVAL) {
		return rel, nil // what is wrong with it, if anything, the command will say
	}
	return "", fmt.Errorf("%w: %q leads out of %s", errRefused, name, j.dir)
}

// checkArguments refuses arguments that name a place outside.
func (j *jail) checkArguments(cwd string, args []string) error {
	if j.anywhere {
		return nil
	}
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			// A path may hide in an option: -t/etc, --target-directory=/etc.
			if strings.ContainsAny(arg, `/\`) || strings.Contains(arg, "..") {
				return fmt.Errorf("%w: the option %q has a path in it", errRefused, arg)
			}
			continue
		}
		if _, err := j.inside(cwd, arg); err != nil {
			return err
		}
	}
	return nil
}

// changeDir returns the working directory after cd.
func (j *jail) changeDir(cwd string, args []string) (string, error) {
	switch len(args) {
	case 0:
		return j.dir, nil
	case 1:
	default:
		return "", fmt.Errorf("%w: cd takes one directory", errRefused)
	}
	path := args[0]
	if j.anywhere {
		if !filepath.IsAbs(path) {
			path = filepath.Join(cwd, path)
		}
	} else {
		rel, err := j.inside(cwd, path)
		if err != nil {
			return "", err
		}
		path = filepath.Join(j.dir, rel)
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%w: %q is no directory", errRefused, args[0])
	}
	return path, nil
}

// An outcome is how a command ended.
type outcome struct {
	status int    // as it said; −1 if it was stopped
	note   string // why it was stopped
}

// run runs a program and hands on what it prints, stream 'o' or 'e'. It gives
// it no input, a small environment, and a limited time; and it stops it when it
// has printed too much or when out fails.
func (j *jail) run(ctx context.Context, cwd string, words []string, out func(stream byte, p []byte) error) (outcome, error) {
	path, err := j.allowedCommand(words[0])
	if err != nil {
		return outcome{}, err
	}
	if err := j.checkArguments(cwd, words[1:]); err != nil {
		return outcome{}, err
	}
	limit, stop := context.WithTimeout(ctx, j.limit)
	defer stop()
	cmd := exec.CommandContext(limit, path, words[1:]...)
	cmd.Args[0] = words[0]
	cmd.Dir = cwd
	// Nothing of the server's own environment, where secrets may be.
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + j.dir, "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TERM=dumb"}
	if runtime.GOOS == "windows" {
		cmd.Env = append(cmd.Env, "SystemRoot="+os.Getenv("SystemRoot"), "PATH="+os.Getenv("PATH"))
	}
	ownGroup(cmd)
	cmd.WaitDelay = time.Second // for a grandchild that keeps the pipes open
	p := &printer{left: j.output, out: out, stop: stop}
	cmd.Stdout, cmd.Stderr = p.stream('o'), p.stream('e')
	err = cmd.Run()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.err != nil:
		return outcome{}, p.err // whom should we tell?
	case p.left < 0:
		return outcome{-1, fmt.Sprintf("stopped: it has printed more than %d bytes", j.output)}, nil
	case ctx.Err() != nil:
		return outcome{}, context.Cause(ctx)
	case limit.Err() != nil:
		return outcome{-1, fmt.Sprintf("stopped after %v", j.limit)}, nil
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		o := outcome{status: exit.ExitCode()}
		if o.status < 0 {
			o.note = exit.String()
		}
		return o, nil
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return outcome{-1, "stopped: it left another program behind that kept its output open"}, nil
	}
	if err != nil {
		return outcome{}, fmt.Errorf("%w: %s cannot be run: %v", errRefused, words[0], err)
	}
	return outcome{}, nil
}

// A printer counts what a program prints on both of its streams.
type printer struct {
	mu   sync.Mutex
	left int
	out  func(stream byte, p []byte) error
	err  error // of out
	stop func()
}

func (p *printer) stream(kind byte) *printerStream { return &printerStream{p, kind} }

type printerStream struct {
	p    *printer
	kind byte
}

// Write hands on as much as is still allowed.
func (s *printerStream) Write(b []byte) (int, error) {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left < 0 || p.err != nil {
		return len(b), nil // swallowed, until the program has been stopped
	}
	part := b[:min(len(b), p.left)]
	if p.left -= len(b); p.left < 0 {
		p.left = -1
		p.stop()
	}
	if len(part) > 0 {
		if p.err = p.out(s.kind, part); p.err != nil {
			p.stop()
		}
	}
	return len(b), nil
}

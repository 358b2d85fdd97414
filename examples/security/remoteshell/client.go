package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/tlsx"
)

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	ca := fs.String("ca", "", "trust the authority whose certificate is in `file`: the server's root.pem")
	name := fs.String("name", "", "the server's `name`, which its certificate must have; without, that of -host")
	user := fs.String("user", "", "log in with this `name`")
	passwordFile := fs.String("password-file", "", "the password is the first line of this `file`; without, it is asked for, or is the first line of standard input")
	text := fs.String("text", "", "run this one `command` and end with its status, instead of those of standard input")
	raw := fs.Bool("raw", false, "show output as it comes, control characters too, which can command a terminal")
	timeout := cli.Number(fs, "timeout", 20*time.Second, time.Millisecond, time.Hour, "wait this `time` for the login, and for more of a command's output")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		if *ca == "" || *user == "" {
			return cli.Usagef("-ca (whom to trust) and -user are needed")
		}
		if *name == "" {
			*name = addr.Host
		}
		data, err := tlsx.ReadFile(*ca)
		if err != nil {
			return err
		}
		roots, err := tlsx.ParseCertificates(data)
		if err != nil {
			return fmt.Errorf("%s: %w", *ca, err)
		}
		input := cli.Lines(ctx, env.Stdin, maxLine)
		next, stop := iter.Pull2(input)
		defer stop()
		password, err := askPassword(env, *passwordFile, *user, next)
		if err != nil {
			return err
		}
		dialer := net.Dialer{Timeout: *timeout}
		conn, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
		secure, err := (&tlsx.Client{Name: *name, Roots: roots, NextProtos: []string{protocol}, HandshakeTimeout: *timeout}).Conn(conn)
		if err != nil {
			return err
		}
		// The password leaves only after the server has proved who it is.
		if err := secure.HandshakeContext(ctx); err != nil {
			return plain(err)
		}
		c := framing.NewConn(secure, nil, &framing.Config{MaxSize: maxMessage, IdleTimeout: *timeout, ReadTimeout: *timeout, WriteTimeout: *timeout})
		defer c.Close()
		if err := logIn(ctx, c, *user, password); err != nil {
			return err
		}
		out, errs := env.Stdout, env.Stderr
		if !*raw {
			out, errs = &cleaner{w: out}, &cleaner{w: errs}
		}
		if cli.Given(fs, "text") {
			end, err := execute(ctx, c, *text, out, errs)
			if err == nil && end.Status != 0 {
				if end.Note != "" {
					return fmt.Errorf("%q: %s", *text, end.Note)
				}
				return cli.Status(end.Status & 0xff)
			}
			return err
		}
		for {
			line, err, ok := next()
			if !ok {
				return nil
			}
			if err != nil {
				return err
			}
			if strings.TrimSpace(line) == "exit" {
				return nil
			}
			end, err := execute(ctx, c, line, out, errs)
			if err != nil {
				return err
			}
			if end.Status != 0 || end.Note != "" {
				fmt.Fprintf(env.Stderr, "status %d %q\n", end.Status, end.Note)
			}
		}
	}
}

// plain takes the reason out of a refusal of TLS.
func plain(err error) error {
	if refusal, ok := errors.AsType[*tlsx.RefusalError](err); ok {
		who := ""
		if refusal.Remote {
			who = "the other side refuses us: "
		}
		return fmt.Errorf("%s%s: %s", who, refusal.Reason, refusal.Detail)
	}
	return err
}

// askPassword gets the password from a file, from a terminal without showing it,
// or else from the first line of the input. There is no flag for it: other
// users see the command lines of all processes.
func askPassword(env *cli.Env, file, user string, next func() (string, error, bool)) (string, error) {
	if file != "" {
		data, err := tlsx.ReadFile(file)
		if err != nil {
			return "", err
		}
		line, _, _ := strings.Cut(string(data), "\n")
		return strings.TrimSuffix(line, "\r"), nil
	}
	if f, ok := env.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(env.Stderr, "password of %s: ", user)
		password, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(env.Stderr)
		return string(password), err
	}
	line, err, ok := next()
	if !ok {
		return "", cli.Usagef("no password: it is the first line of standard input, or of -password-file")
	}
	return line, err
}

// logIn sends name and password and waits for the verdict.
func logIn(ctx context.Context, c *framing.Conn, user, password string) error {
	data, err := json.Marshal(login{user, password})
	if err != nil {
		return err
	}
	if _, err := parseLogin(data); err != nil {
		return err // the server would refuse it
	}
	if err := c.Send(ctx, data); err != nil {
		return plain(err)
	}
	answer, err := c.Receive(ctx)
	if err != nil {
		return fmt.Errorf("no answer to the login: %w", plain(err))
	}
	switch {
	case len(answer) > 0 && answer[0] == isWelcome:
		return nil
	case len(answer) > 0 && answer[0] == isRefusal:
		return fmt.Errorf("%s refuses: %q", c.RemoteAddr(), answer[1:])
	}
	return fmt.Errorf("%s answers a login with %q", c.RemoteAddr(), answer)
}

// execute runs one command over there and shows what it prints.
func execute(ctx context.Context, c *framing.Conn, line string, out, errs io.Writer) (end exit, err error) {
	if len(line) > maxLine {
		return exit{}, fmt.Errorf("a command line may have %d bytes", maxLine)
	}
	if err := c.Send(ctx, []byte(line)); err != nil {
		return exit{}, plain(err)
	}
	for msg, err := range c.Messages(ctx) {
		if err != nil {
			return exit{}, plain(err)
		}
		if len(msg) == 0 {
			return exit{}, fmt.Errorf("%s sends an empty message", c.RemoteAddr())
		}
		switch msg[0] {
		case isOutput:
			_, err = out.Write(msg[1:])
		case isError:
			_, err = errs.Write(msg[1:])
		case isExit:
			return end, parseExit(msg[1:], &end)
		default:
			err = fmt.Errorf("%s sends a message of kind %q", c.RemoteAddr(), msg[0])
		}
		if err != nil {
			return exit{}, err
		}
	}
	return exit{}, fmt.Errorf("%s has ended the session", c.RemoteAddr())
}

func parseExit(data []byte, end *exit) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(end); err != nil || dec.More() {
		return fmt.Errorf("the end of a command is not understood: %q", data)
	}
	return nil
}

// A cleaner takes control characters out of what a stranger's program prints,
// other than tabs and ends of lines. It knows UTF-8, in which the controls from
// 0x80 to 0x9f take two bytes; a character may come in two pieces.
type cleaner struct {
	w    io.Writer
	half []byte // the beginning of a character
}

// Write passes on what is harmless.
func (c *cleaner) Write(p []byte) (int, error) {
	in := append(c.half, p...)
	c.half = nil
	out := make([]byte, 0, len(in))
	for len(in) > 0 {
		if !utf8.FullRune(in) {
			c.half = bytes.Clone(in)
			break
		}
		r, n := utf8.DecodeRune(in)
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, '?')
		case r == '\n' || r == '\t' || r >= ' ' && r < 0x7f || r >= 0xa0:
			out = append(out, in[:n]...)
		}
		in = in[n:]
	}
	if _, err := c.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func addUser(fs *flag.FlagSet) cli.Action {
	file := fs.String("users", "", "the `file` of the users; made if it is not there")
	name := fs.String("name", "", "the user's `name`")
	passwordFile := fs.String("password-file", "", "the password is the first line of this `file`; without, it is asked for, or is the first line of standard input")
	memory := cli.Number(fs, "memory", int(usual.kib>>10), 8, maxKiB>>10, "each guess is to take so many `MiB` of memory")
	passes := cli.Number(fs, "passes", int(usual.passes), 1, maxPasses, "and so many `passes` over it")
	return func(ctx context.Context, env *cli.Env) error {
		if *file == "" || !goodUser.MatchString(*name) {
			return cli.Usagef("-users and -name are needed, the name in small letters, digits, - and _")
		}
		next, stop := iter.Pull2(cli.Lines(ctx, env.Stdin, maxPassword))
		defer stop()
		password, err := askPassword(env, *passwordFile, *name, next)
		if err != nil {
			return err
		}
		// Length is what counts (NIST SP 800-63B section 5.1.1.2).
		if utf8.RuneCountInString(password) < 8 || len(password) > maxPassword || !utf8.ValidString(password) {
			return cli.Usagef("a password has at least 8 characters and at most %d bytes", maxPassword)
		}
		data, err := tlsx.ReadFile(*file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		start := time.Now()
		s := newSecret([]byte(password), recipe{uint32(*memory) << 10, uint32(*passes), usual.lanes})
		took := time.Since(start)
		if len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")) {
			data = append(data, '\n')
		}
		data = fmt.Appendf(data, "%s:%s\n", *name, s)
		if _, err := parseUsers(data); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(*file), err)
		}
		if err := tlsx.WriteFile(*file, data, 0o600, true); err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "%s added; each guess at the password takes %d MiB and %v here\n", *name, *memory, took.Round(time.Millisecond))
		return err
	}
}

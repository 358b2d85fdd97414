package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/tlsx"
)

// The protocol, over TLS: messages with their length in four bytes before them.
// The client begins with a login in JSON; then each of its messages is a
// command line. The server's messages begin with a byte that says what they are.
const (
	protocol = "zocalo-shell" // ALPN (RFC 7301)

	isWelcome = 'w' // logged in; the rest is the working directory
	isRefusal = 'r' // the connection ends; the rest says why
	isOutput  = 'o' // of the program: standard output
	isError   = 'e' // standard error
	isExit    = 'x' // the program has ended; the rest is an exit in JSON

	maxMessage = 64 << 10
	maxLogin   = 2048
)

// A login is a client's first message.
type login struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// An exit ends what a command has to say.
type exit struct {
	Status int    `json:"status"`
	Note   string `json:"note,omitempty"`
	Dir    string `json:"dir"` // working directory of the next command
}

// wrongLogin is said to whoever gives a wrong password, or the name of nobody.
const wrongLogin = "wrong name or password"

var errLogin = errors.New("not a login")

// parseLogin reads a client's first message.
func parseLogin(data []byte) (l login, err error) {
	if len(data) > maxLogin {
		return l, fmt.Errorf("%w: %d bytes, more than %d", errLogin, len(data), maxLogin)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil || dec.More() {
		return login{}, fmt.Errorf("%w: no JSON of the form {\"user\":…,\"password\":…}", errLogin)
	}
	if len(l.Password) > maxPassword || len(l.User) > maxPassword {
		return login{}, fmt.Errorf("%w: name and password may have %d bytes", errLogin, maxPassword)
	}
	return l, nil
}

// A shell serves sessions.
type shell struct {
	users     *users
	jail      *jail
	journal   *journal
	env       *cli.Env
	hashing   chan struct{} // places for those whose password is being checked: each takes memory
	addresses limiter       // attempts of each address
	names     limiter       // attempts on each name, whether it exists or not
	login     time.Duration
}

func server(flags *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(flags, 0)
	userFile := flags.String("users", "", "`file` of the users, as adduser writes it")
	keyDir := flags.String("keys", "", "`directory` of the certificate and its key; made at the first start")
	dir := flags.String("dir", ".", "commands run in this `directory`, and their arguments must not lead out of it")
	allow := flags.String("allow", usualCommands, "allowed `commands`, with commas between, or \"any\"")
	anywhere := flags.Bool("anywhere", false, "arguments may name any place on the machine")
	from := flags.String("from", "", "serve only clients of these `networks`, such as 192.0.2.0/24,::1/128; others are hung up on before anything is said")
	logFile := flags.String("log", "", "keep whole sessions in `file`: logins, commands, and what they printed; never a password")
	limit := cli.Number(flags, "max-time", 10*time.Second, time.Millisecond, time.Hour, "stop a command after this `time`")
	output := cli.Number(flags, "max-output", 1<<20, 1, 1<<30, "stop a command that prints more `bytes`")
	tries := cli.Number(flags, "tries", 5, 1, 1000, "wrong logins that an address has in a window; a name has four times as `many`")
	window := cli.Number(flags, "window", time.Minute, time.Millisecond, 24*time.Hour, "the `time` in which they are counted")
	loginTime := cli.Number(flags, "login-time", 10*time.Second, time.Millisecond, time.Hour, "who has not logged in after this `time` is hung up on")
	idle := cli.Number(flags, "idle", 5*time.Minute, time.Millisecond, 24*time.Hour, "end a session that is silent for this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		if *userFile == "" || *keyDir == "" {
			return cli.Usagef("-users and -keys are needed")
		}
		networks, err := parseNetworks(*from)
		if err != nil {
			return err
		}
		data, err := tlsx.ReadFile(*userFile)
		if err != nil {
			return err
		}
		s := &shell{
			env: env, hashing: make(chan struct{}, 2), login: *loginTime,
			addresses: limiter{tries: *tries, window: *window}, names: limiter{tries: 4 * *tries, window: *window},
		}
		if s.users, err = parseUsers(data); err != nil {
			return fmt.Errorf("%s: %w", *userFile, err)
		}
		if s.jail, err = newJail(*dir, *allow, *anywhere); err != nil {
			return err
		}
		defer s.jail.root.Close()
		s.jail.limit, s.jail.output = *limit, *output
		if *logFile != "" {
			file, err := os.OpenFile(*logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
			if err != nil {
				return err
			}
			defer file.Close()
			s.journal = &journal{slog.NewJSONHandler(file, nil)}
		}
		secure, err := identity(*keyDir)
		if err != nil {
			return err
		}
		secure.HandshakeTimeout = *loginTime
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		outer, err := secure.Listener(&fence{ln, networks, env})
		if err != nil {
			return err
		}
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		service := &framing.Server{
			Handler:  s.serve,
			Config:   framing.Config{MaxSize: maxLine, IdleTimeout: *idle, ReadTimeout: *loginTime, WriteTimeout: *loginTime},
			MaxConns: 64,
		}
		if err := service.Serve(ctx, outer); ctx.Err() == nil {
			return err
		}
		return nil
	}
}

// parseNetworks reads the value of -from; nil means everybody.
func parseNetworks(list string) (networks []netip.Prefix, err error) {
	if list == "" {
		return nil, nil
	}
	for _, text := range strings.Split(list, ",") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, cli.Usagef("-from: %q is no network such as 192.0.2.0/24", text)
		}
		networks = append(networks, prefix.Masked())
	}
	return networks, nil
}

// A fence lets in only clients of some networks.
type fence struct {
	net.Listener
	networks []netip.Prefix // nil: all
	env      *cli.Env
}

// Accept waits for the next client that may come in.
func (f *fence) Accept() (net.Conn, error) {
	for {
		conn, err := f.Listener.Accept()
		if err != nil || f.networks == nil {
			return conn, err
		}
		addr := remote(conn.RemoteAddr()).Addr()
		if slices.ContainsFunc(f.networks, func(n netip.Prefix) bool { return n.Contains(addr) }) {
			return conn, nil
		}
		fmt.Fprintf(f.env.Stdout, "%s: not from here: hung up\n", conn.RemoteAddr())
		conn.Close()
	}
}

func remote(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// The files of a directory of keys.
const (
	rootFile  = "root.pem" // for clients
	chainFile = "server.pem"
	keyFile   = "server.key"
)

// identity returns the server's certificate. If there is none, it makes an
// authority that signs one certificate and is forgotten: its key is nowhere.
func identity(dir string) (*tlsx.Server, error) {
	key, chain := filepath.Join(dir, keyFile), filepath.Join(dir, chainFile)
	if _, err := os.Stat(key); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		until := time.Now().AddDate(1, 0, 0)
		authority, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "remoteshell authority"}, NotAfter: until})
		if err != nil {
			return nil, err
		}
		names := []string{"localhost", "127.0.0.1", "::1"}
		if host, err := os.Hostname(); err == nil && host != "localhost" {
			names = append(names, host)
		}
		cert, err := authority.Issue(tlsx.Template{Names: names, NotAfter: until})
		if err != nil { // a name that no certificate can have
			if cert, err = authority.Issue(tlsx.Template{Names: names[:3], NotAfter: until}); err != nil {
				return nil, err
			}
		}
		list, err := tlsx.Chain(cert)
		if err != nil {
			return nil, err
		}
		private, err := tlsx.EncodeKey(cert.PrivateKey.(crypto.Signer), nil)
		if err != nil {
			return nil, err
		}
		// The key comes last: it says that all is there.
		if err := cmp.Or(
			tlsx.WriteFile(filepath.Join(dir, rootFile), tlsx.EncodeCertificates(authority.Cert), 0o644, true),
			tlsx.WriteFile(chain, tlsx.EncodeCertificates(list...), 0o644, true),
			tlsx.WriteFile(key, private, 0o600, false),
		); err != nil {
			return nil, err
		}
	}
	return &tlsx.Server{
		Identities: []*tlsx.Identity{{ChainFile: chain, KeyFile: key}},
		MinVersion: tls.VersionTLS13, // both ends are ours
		NextProtos: []string{protocol},
	}, nil
}

// A journal keeps sessions. A nil one keeps nothing.
type journal struct{ handler slog.Handler }

// note writes one line. A session that cannot be kept must not go on.
func (j *journal) note(what string, args ...any) error {
	if j == nil {
		return nil
	}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, what, 0)
	r.Add(args...)
	if err := j.handler.Handle(context.Background(), r); err != nil {
		return fmt.Errorf("the log cannot be written: %w", err)
	}
	return nil
}

// send sends one message of a kind, in pieces that the other side takes.
func send(ctx context.Context, c *framing.Conn, kind byte, data []byte) error {
	for {
		n := min(len(data), maxMessage/2)
		if err := c.Send(ctx, append([]byte{kind}, data[:n]...)); err != nil {
			return err
		}
		if data = data[n:]; len(data) == 0 {
			return nil
		}
	}
}

// serve serves one connection: the login, then commands.
func (s *shell) serve(ctx context.Context, c *framing.Conn) error {
	peer := remote(c.RemoteAddr())
	err := func() error {
		user, err := s.admit(ctx, c, peer)
		if user == "" || err != nil {
			return err
		}
		fmt.Fprintf(s.env.Stdout, "%s: %s has logged in\n", peer, user)
		err = s.session(ctx, c, peer, user)
		return cmp.Or(s.journal.note("logout", "peer", peer, "user", user), err)
	}()
	switch {
	case err == nil, errors.Is(err, framing.ErrServerClosed), ctx.Err() != nil:
	default:
		why := cli.Explain(err)
		if refusal, ok := errors.AsType[*tlsx.RefusalError](err); ok {
			why = fmt.Sprintf("%s: %s", refusal.Reason, refusal.Detail)
		}
		fmt.Fprintf(s.env.Stdout, "%s: ended: %s\n", peer, why)
	}
	return nil
}

// admit lets a client log in, once, and returns the user's name, or "" after a
// refusal, which is worded the same for a wrong password and for a name that
// does not exist.
func (s *shell) admit(ctx context.Context, c *framing.Conn, peer netip.AddrPort) (user string, err error) {
	limit, cancel := context.WithTimeout(ctx, s.login)
	defer cancel()
	data, err := c.Receive(limit)
	if err != nil {
		return "", err
	}
	l, err := parseLogin(data)
	if err != nil {
		return "", errors.Join(err, send(limit, c, isRefusal, []byte("no login")))
	}
	// What a stranger gives for a name may be a password typed too early: it is
	// neither printed nor kept unless it is a user's.
	shown := "nobody we know"
	if _, ok := s.users.secrets[l.User]; ok {
		shown = l.User
	}
	refuse := func(why string) (string, error) {
		fmt.Fprintf(s.env.Stdout, "%s: login as %s: %s\n", peer, shown, why)
		return "", cmp.Or(s.journal.note("login refused", "peer", peer, "user", shown, "why", why), send(limit, c, isRefusal, []byte(why)))
	}
	judgedWrong := false
	for _, by := range []struct {
		*limiter
		key string
	}{{&s.addresses, origin(peer.Addr())}, {&s.names, l.User}} {
		wait, err := by.begin(limit, by.key)
		if err != nil {
			return "", err
		}
		if wait > 0 {
			return refuse(fmt.Sprintf("too many attempts, wait %v", max(wait.Round(time.Second), time.Second)))
		}
		defer func() { by.end(by.key, judgedWrong) }()
	}
	select {
	case s.hashing <- struct{}{}:
	case <-limit.Done():
		return "", context.Cause(limit)
	}
	judgedWrong = !s.users.check(l.User, []byte(l.Password))
	<-s.hashing
	if judgedWrong {
		return refuse(wrongLogin)
	}
	if err := s.journal.note("login", "peer", peer, "user", l.User); err != nil {
		return "", err
	}
	return l.User, send(limit, c, isWelcome, []byte(s.jail.dir))
}

// session runs the commands of one user.
func (s *shell) session(ctx context.Context, c *framing.Conn, peer netip.AddrPort, user string) error {
	cwd := s.jail.dir
	for line, err := range c.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := s.journal.note("command", "peer", peer, "user", user, "dir", cwd, "line", string(line)); err != nil {
			return err
		}
		start := time.Now()
		out := func(stream byte, p []byte) error {
			name := map[byte]string{isOutput: "stdout", isError: "stderr"}[stream]
			if err := s.journal.note("output", "peer", peer, "user", user, "stream", name, "text", string(p)); err != nil {
				return err
			}
			return send(ctx, c, stream, p)
		}
		var done outcome
		words, err := split(string(line))
		switch {
		case err != nil, len(words) == 0:
		case words[0] == "exit":
			return nil
		case words[0] == "cd":
			var dir string
			if dir, err = s.jail.changeDir(cwd, words[1:]); err == nil {
				cwd = dir
			}
		default:
			done, err = s.jail.run(ctx, cwd, words, out)
		}
		if errors.Is(err, errRefused) {
			done = outcome{126, err.Error()} // as shells say "found but not run"
		} else if err != nil {
			return err
		}
		if err := s.journal.note("exit", "peer", peer, "user", user, "status", done.status, "note", done.note, "took", time.Since(start).String()); err != nil {
			return err
		}
		fmt.Fprintf(s.env.Stdout, "%s: %s: %q: status %d %s\n", peer, user, line, done.status, done.note)
		data, err := json.Marshal(exit{done.status, done.note, cwd})
		if err != nil {
			return err
		}
		if err := send(ctx, c, isExit, data); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"bufio"
	"context"
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func serve(fs *flag.FlagSet) cli.Action {
	o := declare(fs)
	return func(ctx context.Context, env *cli.Env) error {
		if o.daemon && !isDaemon() {
			return daemonize(env)
		}
		if max(o.tcp, o.udp) > 65535 {
			return cli.Usagef("a port is at most 65535, not %d", max(o.tcp, o.udp))
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if o.udp != 0 && !cli.Given(fs, "p") {
			o.tcp = o.udp
		}
		s := &o.server
		s.MaxBytes = int64(*o.memory) << 20
		if o.authFile != "" {
			if o.udp != 0 {
				return cli.Usagef("-Y and -U exclude each other: a datagram cannot show who sent it")
			}
			users, err := readUsers(o.authFile)
			if err != nil {
				return err
			}
			s.Authenticate = users.admit
		}
		if o.shutdown {
			s.OnShutdown = func(graceful bool) {
				if graceful {
					drain, stop := context.WithTimeout(ctx, 5*time.Second)
					defer stop()
					_ = s.Shutdown(drain) // what is left is closed below
				}
				cancel()
			}
		}
		if o.threads > 0 {
			runtime.GOMAXPROCS(min(o.threads, runtime.NumCPU()))
			s.Settings["num_threads"] = strconv.Itoa(o.threads)
		}
		if o.verbose {
			s.Trace = tell(env.Stderr)
		}
		sockets, err := o.listen(ctx)
		if err != nil {
			return err
		}
		if err := o.announce(env, sockets); err != nil {
			sockets.close()
			return err
		}
		if o.daemon && o.pidFile != "" {
			defer os.Remove(o.pidFile)
		}
		return sockets.serve(ctx, s)
	}
}

// announce says where the server listens, in all the ways that were asked for.
func (o *options) announce(env *cli.Env, s *sockets) error {
	if o.daemon && o.pidFile != "" {
		if err := os.WriteFile(o.pidFile, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
			return err
		}
	}
	if name := os.Getenv("MEMCACHED_PORT_FILENAME"); name != "" {
		if err := s.writePorts(name); err != nil {
			return err
		}
	}
	for _, ln := range s.streams {
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
	}
	if len(s.streams) == 0 {
		for _, pc := range s.packets {
			if err := env.Listening(pc.LocalAddr()); err != nil {
				return err
			}
		}
	}
	if len(s.streams)+len(s.packets) == 0 {
		fmt.Fprintln(env.Stderr, "memcached: listening on nothing: -p 0 turns TCP off (-p -1 picks a free port)")
	}
	if o.daemon {
		return detach()
	}
	return nil
}

// tell returns a trace that writes what happens to w.
func tell(w io.Writer) *cache.ServerTrace {
	return &cache.ServerTrace{
		Opened: func(peer net.Addr) { fmt.Fprintf(w, "<%v new connection\n", peer) },
		Closed: func(peer net.Addr, err error) {
			if err != nil {
				fmt.Fprintf(w, "<%v connection closed: %v\n", peer, err)
				return
			}
			fmt.Fprintf(w, "<%v connection closed\n", peer)
		},
		Command: func(peer net.Addr, line []byte) { fmt.Fprintf(w, "<%v %q\n", peer, line) },
		Refused: func(peer net.Addr) { fmt.Fprintf(w, "<%v refused: too many connections\n", peer) },
	}
}

// sockets are what the server listens on.
type sockets struct {
	streams []net.Listener
	packets []net.PacketConn
}

// listen opens what the flags name.
func (o *options) listen(ctx context.Context) (*sockets, error) {
	s := &sockets{}
	var config net.ListenConfig
	if o.socket != "" {
		// What a server left behind that was killed is in the way.
		if info, err := os.Lstat(o.socket); err == nil && info.Mode()&os.ModeSocket != 0 {
			if err := os.Remove(o.socket); err != nil {
				return nil, err
			}
		}
		ln, err := config.Listen(ctx, "unix", o.socket)
		if err != nil {
			return nil, err
		}
		s.streams = append(s.streams, ln)
		return s, nil
	}
	hosts := o.hosts
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1"}
	}
	for _, host := range hosts {
		tcp, udp := port(o.tcp), port(o.udp)
		if h, p, err := net.SplitHostPort(host); err == nil {
			host, tcp = h, p
			if o.udp != 0 {
				udp = p
			}
		}
		host = strings.Trim(host, "[]")
		family := "" // a name can have addresses of both
		if a, err := netip.ParseAddr(host); err == nil && a.Is4() {
			family = "4" // or 0.0.0.0 would mean all of IPv6, too
		}
		if o.tcp != 0 {
			ln, err := config.Listen(ctx, "tcp"+family, net.JoinHostPort(host, tcp))
			if err != nil {
				s.close()
				return nil, err
			}
			s.streams = append(s.streams, ln)
		}
		if o.udp != 0 {
			pc, err := config.ListenPacket(ctx, "udp"+family, net.JoinHostPort(host, udp))
			if err != nil {
				s.close()
				return nil, err
			}
			s.packets = append(s.packets, pc)
		}
	}
	return s, nil
}

// writePorts writes the ports to a file, as memcached does where scripts ask for
// it with an environment variable.
func (s *sockets) writePorts(name string) error {
	var b []byte
	line := func(what, addr string) {
		a, err := netip.ParseAddrPort(addr)
		if err != nil {
			return // a Unix socket has no port
		}
		family := "INET"
		if a.Addr().Is6() {
			family = "INET6"
		}
		b = fmt.Appendf(b, "%s %s: %d\n", what, family, a.Port())
	}
	for _, ln := range s.streams {
		line("TCP", ln.Addr().String())
	}
	for _, pc := range s.packets {
		line("UDP", pc.LocalAddr().String())
	}
	// Whoever waits for the file must not find half of it.
	if err := os.WriteFile(name+".tmp", b, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}

// port writes a port as package net wants it: 0 for a free one.
func port(n int) string { return strconv.Itoa(max(n, 0)) }

func (s *sockets) close() {
	for _, ln := range s.streams {
		ln.Close()
	}
	for _, pc := range s.packets {
		pc.Close()
	}
}

// serve serves all sockets until ctx ends or one of them fails.
func (s *sockets) serve(ctx context.Context, server *cache.Server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(s.streams)+len(s.packets))
	var wg sync.WaitGroup
	for i, ln := range s.streams {
		wg.Go(func() {
			defer cancel()
			errs[i] = server.Serve(ctx, ln)
		})
	}
	for i, pc := range s.packets {
		wg.Go(func() {
			defer cancel()
			errs[len(s.streams)+i] = server.ServePacket(ctx, pc)
		})
	}
	if len(errs) == 0 {
		<-ctx.Done() // as memcached with -p 0
	}
	wg.Wait()
	server.Close()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	return nil
}

// users are those who may come in, with their passwords.
type users map[string]string

// readUsers reads the file of -Y: lines of user:password.
func readUsers(name string) (users, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	u := users{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		if lines.Text() == "" {
			continue
		}
		user, password, ok := strings.Cut(lines.Text(), ":")
		if !ok || user == "" || password == "" {
			return nil, fmt.Errorf("%s, line %d: want user:password", name, n)
		}
		u[user] = password
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(u) == 0 {
		return nil, fmt.Errorf("%s names no user", name)
	}
	return u, nil
}

// admit compares in constant time: how long a wrong password takes must not
// tell how much of it is right.
func (u users) admit(user, password string) bool {
	want, known := u[user]
	return subtle.ConstantTimeCompare([]byte(want), []byte(password)) == 1 && known
}

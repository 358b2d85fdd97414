package mq

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A site is an endpoint that the socket is bound or connected to. Under Socket.mu.
type site struct {
	name string
	ln   net.Listener // bound
	pipe *pipe        // connected
	stop func()       // ends what goes on for it
}

// parseEndpoint returns what package net needs to know of an endpoint: for tcp
// "tcp" and host:port, for ipc "unix" and a path, for inproc "inproc" and a name.
func parseEndpoint(endpoint string) (network, addr string, err error) {
	scheme, rest, ok := strings.Cut(endpoint, "://")
	if ok && rest != "" {
		switch scheme {
		case "inproc":
			return scheme, rest, nil
		case "ipc":
			return "unix", rest, nil
		case "tcp":
			host, port, err := net.SplitHostPort(rest)
			if err != nil {
				break
			}
			if host == "*" {
				host = ""
			}
			if port == "*" {
				port = "0"
			}
			if _, err := strconv.ParseUint(port, 10, 16); err == nil {
				return "tcp", net.JoinHostPort(host, port), nil
			}
		}
	}
	return "", "", fmt.Errorf("mq: %q is no endpoint: want tcp://host:port, ipc://path or inproc://name", endpoint)
}

// Bind listens at an endpoint and returns it with what was chosen for "*" or
// port 0: "tcp://127.0.0.1:*", "tcp://*:5555", "tcp://[::1]:0", "ipc:///tmp/x",
// "inproc://name". ctx bounds the look-up of a name only.
func (s *Socket) Bind(ctx context.Context, endpoint string) (bound string, err error) {
	network, addr, err := parseEndpoint(endpoint)
	if err != nil {
		return "", err
	}
	if network == "inproc" {
		return endpoint, s.bindInproc(endpoint)
	}
	ln, err := s.cfg.Listen(ctx, network, addr)
	if err != nil && network == "unix" && removeStale(addr) {
		ln, err = s.cfg.Listen(ctx, network, addr)
	}
	if err != nil {
		return "", fmt.Errorf("mq: bind %s: %w", endpoint, err)
	}
	scheme, _, _ := strings.Cut(endpoint, "://")
	bound = scheme + "://" + ln.Addr().String()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		ln.Close()
		return "", s.errClosed("bind")
	}
	e := &site{name: bound, ln: ln}
	ctx, cancel := context.WithCancel(context.Background())
	e.stop = func() { cancel(); ln.Close() }
	s.endpoints[bound] = append(s.endpoints[bound], e)
	s.wg.Go(func() { s.listen(ctx, e) })
	if f := s.cfg.Trace.Listening; f != nil {
		f(bound)
	}
	return bound, nil
}

func (s *Socket) bindInproc(endpoint string) error {
	if s.cfg.Inproc == nil {
		return errNoInproc
	}
	if err := s.cfg.Inproc.bind(s, endpoint); err != nil {
		return err
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.endpoints[endpoint] = append(s.endpoints[endpoint], &site{
			name: endpoint, stop: func() {},
		})
	}
	s.mu.Unlock()
	if closed {
		s.cfg.Inproc.leave(s)
		return s.errClosed("bind")
	}
	if f := s.cfg.Trace.Listening; f != nil {
		f(endpoint)
	}
	return nil
}

var errNoInproc = errors.New("mq: inproc needs Config.Inproc, the same for both ends")

// removeStale removes the socket file of a program that has ended.
func removeStale(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	nc, err := net.Dial("unix", path)
	if err == nil {
		nc.Close() // somebody is there
	}
	// Another error is no proof: a busy program, with its backlog full, is there.
	return errors.Is(err, syscall.ECONNREFUSED) && os.Remove(path) == nil
}

// Connect lets the socket have a connection to endpoint from now on. It does not
// wait for it: whoever is there, or comes later, will be connected, and again
// after each loss, until Disconnect or Close.
func (s *Socket) Connect(endpoint string) error {
	network, addr, err := parseEndpoint(endpoint)
	if err != nil {
		return err
	}
	if network == "tcp" && (strings.HasPrefix(addr, ":") || strings.HasSuffix(addr, ":0")) {
		return fmt.Errorf("mq: connect to %s: want a host and a port", endpoint)
	}
	e := &site{name: endpoint}
	if network == "inproc" {
		if s.cfg.Inproc == nil {
			return errNoInproc
		}
		if e.pipe, err = s.cfg.Inproc.connect(s, endpoint); err != nil {
			return fmt.Errorf("mq: connect to %s: %w", endpoint, err)
		}
		e.stop = func() {}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.endpoints[endpoint] = append(s.endpoints[endpoint], e)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.pipe = s.newPipe(endpoint, true)
	if err := s.add(e.pipe); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.stop = cancel
	s.endpoints[endpoint] = append(s.endpoints[endpoint], e)
	s.wg.Go(func() {
		defer cancel()
		s.keepConnected(ctx, e.pipe, network, addr)
	})
	return nil
}

// Unbind ends listening at an endpoint as Bind returned it; connections stay.
func (s *Socket) Unbind(endpoint string) error {
	e, err := s.forget(endpoint, func(e *site) bool { return e.pipe == nil })
	if err != nil {
		return err
	}
	e.stop()
	if e.ln == nil {
		s.cfg.Inproc.unbind(s, endpoint)
	}
	return nil
}

// Disconnect undoes Connect. Messages that wait there are dropped.
func (s *Socket) Disconnect(endpoint string) error {
	e, err := s.forget(endpoint, func(e *site) bool { return e.pipe != nil })
	if err != nil {
		return err
	}
	if e.pipe.to != nil {
		s.cfg.Inproc.disconnect(e.pipe)
		return nil
	}
	s.mu.Lock()
	s.remove(e.pipe)
	s.mu.Unlock()
	e.stop()
	return nil
}

func (s *Socket) forget(name string, which func(*site) bool) (*site, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, s.errClosed("leave " + name)
	}
	list := s.endpoints[name]
	for i, e := range list {
		if which(e) {
			if list = slices.Delete(list, i, i+1); len(list) > 0 {
				s.endpoints[name] = list
			} else {
				delete(s.endpoints, name)
			}
			return e, nil
		}
	}
	return nil, fmt.Errorf("mq: %s has no endpoint %s", s.typ, name)
}

// listen accepts connections until the endpoint is stopped.
func (s *Socket) listen(ctx context.Context, e *site) {
	pause := time.Duration(0)
	for {
		nc, err := e.ln.Accept()
		if err == nil {
			pause = 0
			s.welcome(nc, e.name)
			continue
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			e.ln.Close()
			return
		}
		// No descriptor left, for example: connections that end may mend it.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		if f := s.cfg.Trace.Refused; f != nil {
			f(e.name, nil, err)
		}
		if !sleep(ctx, pause) {
			e.ln.Close()
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// welcome starts what serves an accepted connection.
func (s *Socket) welcome(nc net.Conn, name string) {
	s.mu.Lock()
	if s.closed || s.accepted >= s.cfg.MaxConns {
		closed := s.closed
		s.mu.Unlock()
		nc.Close()
		if f := s.cfg.Trace.Refused; f != nil && !closed {
			f(name, nc.RemoteAddr(), fmt.Errorf("mq: %d connections are open", s.cfg.MaxConns))
		}
		return
	}
	s.accepted++
	s.young[nc] = struct{}{}
	s.wg.Go(func() {
		p := s.newPipe(name, false)
		met, err := s.session(nc, p)
		s.mu.Lock()
		s.accepted--
		delete(s.young, nc)
		s.remove(p)
		s.mu.Unlock()
		if f := s.cfg.Trace.Refused; f != nil && !met {
			f(name, nc.RemoteAddr(), err)
		}
	})
	s.mu.Unlock()
}

// session leads a connection from the handshake to its end; met says that it
// had a peer.
func (s *Socket) session(nc net.Conn, p *pipe) (met bool, err error) {
	defer nc.Close()
	if s.cfg.HandshakeTimeout > 0 {
		if err := nc.SetDeadline(time.Now().Add(s.cfg.HandshakeTimeout)); err != nil {
			return false, err
		}
	}
	info, cipher, err := handshake(nc, s.cfg.Security, local{typ: s.typ, identity: s.cfg.Identity, accepted: !p.keep})
	if err != nil {
		return false, err
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return false, err
	}
	l := newLink(nc, cipher)
	remote := ""
	if a := nc.RemoteAddr(); a != nil {
		remote = a.String()
	}
	s.subscribing.Lock()
	s.mu.Lock()
	delete(s.young, nc)
	if p.keep {
		if p.gone {
			err = net.ErrClosed
		}
	} else {
		err = s.add(p)
	}
	var evicted *pipe
	if err == nil {
		evicted, err = s.meet(p, info, remote)
	}
	if err == nil {
		p.link, p.connected = l, true
		if s.typ == SUB || s.typ == XSUB {
			s.topics.each(func(topic string) { p.tellTopic(true, topic) })
		}
	}
	peer := p.peer
	s.mu.Unlock()
	s.subscribing.Unlock()
	if err != nil {
		return false, err
	}
	if evicted != nil && evicted.to != nil {
		s.cfg.Inproc.disconnect(evicted)
	} else if evicted != nil {
		evicted.hangUp()
	}
	if f := s.cfg.Trace.Connected; f != nil {
		f(peer)
	}
	err = p.run(l)
	if f := s.cfg.Trace.Disconnected; f != nil {
		f(peer, err)
	}
	return true, err
}

// keepConnected dials and serves a connection, again and again, until ctx ends,
// nothing is left to be sent by a closed socket, or the peer wants no more of it.
func (s *Socket) keepConnected(ctx context.Context, p *pipe, network, addr string) {
	defer func() {
		s.mu.Lock()
		s.remove(p)
		s.mu.Unlock()
	}()
	for pause := s.cfg.ReconnectMin; ; pause = min(2*pause, s.cfg.ReconnectMax) {
		begin := time.Now()
		met, err := s.dial(ctx, p, network, addr)
		if met && time.Since(begin) > pause { // not one that lets us in and throws us out
			pause = s.cfg.ReconnectMin
		}
		s.mu.Lock()
		over := p.gone || s.closed && p.queued == 0
		s.mu.Unlock()
		if over || ctx.Err() != nil {
			return
		}
		wait := pause - rand.N(pause/2+1)
		if fatal(err) {
			wait = -1
		}
		if f := s.cfg.Trace.Retry; f != nil {
			f(p.endpoint, err, wait)
		}
		if wait < 0 || !sleep(ctx, wait) {
			return
		}
	}
}

func (s *Socket) dial(ctx context.Context, p *pipe, network, addr string) (met bool, err error) {
	short := ctx
	if s.cfg.HandshakeTimeout > 0 {
		var cancel context.CancelFunc
		short, cancel = context.WithTimeout(ctx, s.cfg.HandshakeTimeout)
		defer cancel()
	}
	nc, err := s.cfg.Dial(short, network, addr)
	if err != nil {
		return false, fmt.Errorf("mq: connect to %s: %w", p.endpoint, err)
	}
	unwatch := context.AfterFunc(ctx, func() { nc.Close() })
	defer unwatch()
	return s.session(nc, p)
}

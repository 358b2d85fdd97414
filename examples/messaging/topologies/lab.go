package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"

	"github.com/zocalo-go/zocalo/mq"
)

// A lab is where one topology is tried.
type lab struct {
	out       io.Writer
	n         int    // messages of each sender
	transport string // "tcp", "ipc" or "inproc"
	dir       string // for the sockets of ipc
	dice      *rand.Rand

	names   int // of endpoints that were given
	inproc  mq.Inproc
	sockets []*mq.Socket

	stop     context.CancelCauseFunc
	workers  sync.WaitGroup // parts that come to an end
	servants sync.WaitGroup // parts that go on until the others have ended
}

// A part of a topology is started by itself, in any order.
type part struct {
	name  string
	start func() error
}

// try plays a topology: it prints the title, lets build make the parts, starts
// them in a random order, waits for the workers and lets show draw what happened.
func (l *lab) try(ctx context.Context, title string, build func(ctx context.Context) (parts []part, show func() error, err error)) error {
	ctx, l.stop = context.WithCancelCause(ctx)
	defer func() {
		l.stop(nil)
		l.servants.Wait()
		l.workers.Wait()
		for _, s := range l.sockets {
			s.Close()
		}
	}()
	parts, show, err := build(ctx)
	if err != nil {
		return err
	}
	l.dice.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	var order []string
	for _, p := range parts {
		order = append(order, p.name)
	}
	fmt.Fprintf(l.out, "\n%s, over %s\nstarted: %s\n", title, l.transport, strings.Join(order, ", "))
	for _, p := range parts {
		if err := p.start(); err != nil {
			return err
		}
	}
	l.workers.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return show()
}

// work runs f in the background; the lab waits for it. Its error ends all.
func (l *lab) work(f func() error) {
	l.workers.Go(func() {
		if err := f(); err != nil {
			l.stop(err)
		}
	})
}

// serve runs f in the background until the workers have ended.
func (l *lab) serve(ctx context.Context, f func() error) {
	l.servants.Go(func() {
		if err := f(); err != nil && ctx.Err() == nil {
			l.stop(err)
		}
	})
}

// open makes sockets.
func (l *lab) open(types ...mq.Type) ([]*mq.Socket, error) {
	var opened []*mq.Socket
	for _, typ := range types {
		s, err := mq.NewSocket(typ, &mq.Config{Inproc: &l.inproc})
		if err != nil {
			return nil, err
		}
		l.sockets = append(l.sockets, s) // closed at the end
		opened = append(opened, s)
	}
	return opened, nil
}

// endpoint returns a new endpoint over a transport, to be bound and connected in any order.
func (l *lab) endpoint(transport string) (string, error) {
	l.names++
	switch transport {
	case "inproc":
		return fmt.Sprintf("inproc://%d", l.names), nil
	case "ipc":
		return "ipc://" + filepath.Join(l.dir, fmt.Sprint(l.names)), nil
	}
	// Whoever connects before the other binds must know the port. So one that is
	// free is chosen here; should another program take it until then, Bind says so.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return "tcp://" + ln.Addr().String(), nil
}

// endpoints returns two endpoints over the lab's transport.
func (l *lab) endpoints() (a, b string, err error) {
	if a, err = l.endpoint(l.transport); err == nil {
		b, err = l.endpoint(l.transport)
	}
	return a, b, err
}

// bind binds a socket.
func bind(ctx context.Context, s *mq.Socket, endpoint string) error {
	_, err := s.Bind(ctx, endpoint)
	return err
}

// traffic is what has passed between a socket and its peers at an endpoint.
func traffic(s *mq.Socket, endpoint string) (e edge) {
	for _, p := range s.Stats().Peers {
		if p.Endpoint == endpoint {
			e.right += p.Sent
			e.left += p.Received
		}
	}
	return e
}

// flipped is the edge seen from the other side.
func (e edge) flipped() edge { return edge{e.left, e.right} }

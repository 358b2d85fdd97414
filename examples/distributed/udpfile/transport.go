package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/lab/hosts"
	"github.com/zocalo-go/zocalo/udprel"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A transport is what carries the conversation: a stream of bytes, whole and in
// order, over UDP or TCP. Nothing above it cares which.
type transport struct {
	listen func(ctx context.Context, addr string) (net.Listener, error)
	dial   func(ctx context.Context, addr string) (net.Conn, error)
	relay  func(listen, target string, config *simnet.RelayConfig) (*simnet.Relay, error)
}

// overTCP is the system's TCP.
func overTCP() transport {
	return transport{
		listen: func(ctx context.Context, addr string) (net.Listener, error) {
			var config net.ListenConfig
			return config.Listen(ctx, "tcp", addr)
		},
		dial: func(ctx context.Context, addr string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "tcp", addr)
		},
		relay: simnet.RelayTCP,
	}
}

// overUDP is reliable UDP.
func overUDP(config *udprel.Config) transport {
	return transport{
		listen: func(_ context.Context, addr string) (net.Listener, error) {
			ln, err := udprel.Listen("udp", addr, config)
			return listener(ln, err)
		},
		dial: func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := udprel.Dial(ctx, "udp", addr, config)
			return connection(conn, err, addr)
		},
		relay: simnet.RelayUDP,
	}
}

// controls are the kinds of congestion control of reliable UDP.
var controls = map[string]func() udprel.Controller{
	"model":   udprel.NewModel,
	"cubic":   udprel.NewCubic,
	"goodbad": udprel.NewGoodBad,
}

func transportFlags(fs *flag.FlagSet) func() transport {
	tcp := fs.Bool("tcp", false, "use TCP in the place of reliable UDP, at both ends")
	control := cli.Choice(fs, "control", "model", "congestion control of what this end sends over reliable UDP", "model", "cubic", "goodbad")
	return func() transport {
		if *tcp {
			return overTCP()
		}
		// What matters is acknowledged by the other end's notes: closing need
		// not wait long for the rest.
		return overUDP(&udprel.Config{Congestion: controls[*control], Linger: lastWords})
	}
}

func timeoutFlag(fs *flag.FlagSet) *time.Duration {
	return cli.Number(fs, "timeout", time.Minute, time.Millisecond, 24*time.Hour, "wait this `time` for an answer, and for each 64 KiB")
}

func seedFlag(fs *flag.FlagSet) *int64 {
	return cli.Number(fs, "seed", int64(1), 0, 1<<62, "`number` from which the link's chance is made")
}

// A network is two hosts and what must be closed before they are. The servers
// are on B.
type network struct {
	pair *hosts.Pair

	mu        sync.Mutex
	endpoints []*udprel.Endpoint
}

func (n *network) close() error {
	var errs []error
	for _, e := range n.endpoints {
		errs = append(errs, e.Close())
	}
	return errors.Join(append(errs, n.pair.Close())...)
}

func (n *network) overTCP() transport {
	return transport{
		listen: func(context.Context, string) (net.Listener, error) { return n.pair.B.Listen(0) },
		dial:   n.pair.A.Dial,
	}
}

func (n *network) overUDP(config *udprel.Config) transport {
	endpoint := func(h *hosts.Host) (*udprel.Endpoint, error) {
		pc, err := h.ListenPacket(0)
		if err != nil {
			return nil, err
		}
		e := udprel.NewEndpoint(pc, config)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.endpoints = append(n.endpoints, e)
		return e, nil
	}
	return transport{
		listen: func(context.Context, string) (net.Listener, error) {
			e, err := endpoint(n.pair.B)
			if err != nil {
				return nil, err
			}
			return listenOn(e)
		},
		dial: func(ctx context.Context, addr string) (net.Conn, error) {
			e, err := endpoint(n.pair.A)
			if err != nil {
				return nil, err
			}
			return dialFrom(ctx, e, addr)
		},
	}
}

func listenOn(e *udprel.Endpoint) (net.Listener, error) {
	ln, err := e.Listen()
	return listener(ln, err)
}

func dialFrom(ctx context.Context, e *udprel.Endpoint, addr string) (net.Conn, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	conn, err := e.Dial(ctx, to)
	return connection(conn, err, addr)
}

// listener and connection make interfaces that are nil where there is an error,
// and do not hold a nil pointer.
func listener(ln *udprel.Listener, err error) (net.Listener, error) {
	if err != nil {
		return nil, err
	}
	return ln, nil
}

func connection(conn *udprel.Conn, err error, addr string) (net.Conn, error) {
	if errors.Is(err, udprel.ErrHandshake) {
		return nil, fmt.Errorf("nobody answers at %s over reliable UDP", addr)
	} else if err != nil {
		return nil, err
	}
	return conn, nil
}

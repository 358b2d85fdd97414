package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func timewait(fs *flag.FlagSet) cli.Action {
	host := hostFlag(fs)
	return func(ctx context.Context, env *cli.Env) error {
		addr, err := host()
		if err != nil {
			return err
		}
		_, left, err := leaveTimeWait(ctx, addr, true)
		if err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout, "The server closes a connection first, then stops. What it leaves in the table:")
		if err := printRows(env.Stdout, left); err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout, "Started again on the same port, with and without SO_REUSEADDR:")
		var text strings.Builder
		table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "first server\tthe same again\tdoes it start?")
		for _, try := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
			first, _, err := leaveTimeWait(ctx, addr, try[0])
			if err != nil {
				return err
			}
			outcome := "yes"
			second, err := listenReuse(ctx, first, try[1])
			if err == nil {
				second.Close()
			} else if cause := cli.CauseOf(err); cause == cli.AddrInUse {
				outcome = "no: " + string(cause)
			} else {
				return err
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", withOrWithout(try[0]), withOrWithout(try[1]), outcome)
		}
		if err := table.Flush(); err != nil {
			return err
		}
		_, err = fmt.Fprint(env.Stdout, text.String())
		return err
	}
}

func withOrWithout(reuse bool) string {
	if reuse {
		return "with"
	}
	return "without"
}

// listenReuse listens with SO_REUSEADDR set or cleared. Go sets it by itself on
// all systems but Windows, before Control is called.
func listenReuse(ctx context.Context, addr string, reuse bool) (*net.TCPListener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if controlErr := c.Control(func(fd uintptr) { err = setReuse(fd, reuse) }); controlErr != nil {
			return controlErr
		}
		return err
	}}
	ln, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// leaveTimeWait starts a server that accepts one connection, closes it before
// the client does, and stops. It returns the server's address and what is left
// of it in the system's table.
func leaveTimeWait(ctx context.Context, addr string, reuse bool) (first string, left []row, err error) {
	ln, err := listenReuse(ctx, addr, reuse)
	if err != nil {
		return "", nil, err
	}
	s := &stage{ln: ln}
	s.names[1] = nameOf(ln.Addr())
	defer s.close()
	if err := s.connect(ctx); err != nil {
		return "", nil, err
	}
	if err := s.server.Close(); err != nil {
		return "", nil, err
	}
	// The client closes when it has heard that the server has.
	if err := drain(s.client); err != nil {
		return "", nil, err
	}
	s.close()
	for began := time.Now(); ; {
		left, err = ofName(ctx, s.names[1])
		if err != nil {
			return "", nil, err
		}
		if stateOf(left, s.names[1], s.names[0]) == timeWait && stateOf(left, s.names[0], s.names[1]) == closed {
			return s.names[1].String(), left, nil
		}
		if time.Since(began) > settle {
			return "", nil, fmt.Errorf("no TIME-WAIT for %s in the system's table", s.names[1])
		}
		if err := sleep(ctx, poll); err != nil {
			return "", nil, err
		}
	}
}

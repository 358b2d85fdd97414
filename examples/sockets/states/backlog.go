package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// noAnswer is how long a client over loopback waits before we say that nobody
// answers. A handshake takes a tenth of a millisecond.
const noAnswer = 150 * time.Millisecond

// A fullQueue is a socket that listens, does not accept, and has no more room
// for connections that wait to be accepted.
type fullQueue struct {
	ln      *net.TCPListener
	inside  []net.Conn     // clients that are connected, though nobody has accepted them
	waiting netip.AddrPort // the client that is not
	asked   time.Time      // since then it tries
	late    chan dialled   // receives, once, what becomes of it
	cancel  context.CancelFunc
}

type dialled struct {
	conn net.Conn
	err  error
}

// overfill listens on addr with a backlog of n and connects until a client gets no
// answer. report, if not nil, is told how long each that got in took. Where the
// system has another way, the error is errors.ErrUnsupported.
func overfill(ctx context.Context, addr string, n int, report func(client int, took time.Duration)) (*fullQueue, error) {
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	q := &fullQueue{ln: ln.(*net.TCPListener), late: make(chan dialled, 1), cancel: cancel}
	if err := control(q.ln, func(fd uintptr) error { return setBacklog(fd, n) }); err != nil {
		q.close()
		return nil, fmt.Errorf("listen with a backlog of %d: %w", n, err)
	}
	for client := 1; client <= 2*n+10; client++ {
		q.asked = time.Now()
		go func() {
			dialer := net.Dialer{Timeout: settle}
			conn, err := dialer.DialContext(ctx, "tcp", ln.Addr().String())
			q.late <- dialled{conn, err}
		}()
		d, waits, err := q.answer(ctx)
		if err != nil {
			q.close()
			return nil, err
		}
		if waits {
			return q, nil
		}
		if d.err != nil {
			q.late <- d // close waits for one
			q.close()
			return nil, fmt.Errorf("client %d: %w: %w", client, d.err, errors.ErrUnsupported)
		}
		q.inside = append(q.inside, d.conn)
		if report != nil {
			report(client, time.Since(q.asked))
		}
	}
	got := len(q.inside)
	q.late <- dialled{} // close waits for one
	q.close()
	return nil, fmt.Errorf("%d clients are connected to a server with a backlog of %d: %w", got, n, errors.ErrUnsupported)
}

// answer waits for what becomes of the client that is dialling. That it waits
// for an answer to its SYN is not guessed from the time alone: the system's
// table says so.
func (q *fullQueue) answer(ctx context.Context) (d dialled, waits bool, err error) {
	for {
		select {
		case d := <-q.late:
			return d, false, nil
		case <-time.After(poll):
		}
		if time.Since(q.asked) < noAnswer {
			continue
		}
		rows, err := ofName(ctx, nameOf(q.ln.Addr()))
		if err != nil {
			return dialled{}, false, err
		}
		for _, r := range rows {
			if r.state == synSent {
				q.waiting = r.local
				return dialled{}, true, nil
			}
		}
	}
}

// table returns the rows of the system's table that have to do with the server.
// One reading may lack a row when the table changes meanwhile; then it reads
// again.
func (q *fullQueue) table(ctx context.Context) ([]row, error) {
	all := 1 + 2*len(q.inside) + 1 // the listening socket, both ends of each connection, the one that waits
	for began := time.Now(); ; {
		rows, err := ofName(ctx, nameOf(q.ln.Addr()))
		// What an earlier socket of that name may have left is not ours.
		rows = slices.DeleteFunc(rows, func(r row) bool { return r.state == timeWait })
		if err != nil || len(rows) >= all || time.Since(began) > noAnswer {
			return rows, err
		}
		if err := sleep(ctx, poll); err != nil {
			return nil, err
		}
	}
}

// close closes everything, and waits for the client that is still dialling.
func (q *fullQueue) close() {
	q.cancel()
	q.ln.Close()
	for _, conn := range q.inside {
		conn.Close()
	}
	if q.asked.IsZero() {
		return // nobody has
	}
	if d := <-q.late; d.conn != nil {
		d.conn.Close()
	}
}

func backlog(fs *flag.FlagSet) cli.Action {
	host := hostFlag(fs)
	n := cli.Number(fs, "n", 2, 0, 100, "call listen with this `number`")
	return func(ctx context.Context, env *cli.Env) error {
		addr, err := host()
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "listen(%d), and nobody calls accept\n", *n)
		q, err := overfill(ctx, addr, *n, func(client int, took time.Duration) {
			fmt.Fprintf(env.Stdout, "client %d: connected after %.2f ms\n", client, took.Seconds()*1000)
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		defer q.close()
		late := len(q.inside) + 1
		fmt.Fprintf(env.Stdout, "client %d: no answer for %v\n", late, noAnswer)
		rows, err := q.table(ctx)
		if err != nil {
			return err
		}
		if err := printRows(env.Stdout, rows); err != nil {
			return err
		}

		if err := q.ln.SetDeadline(time.Now().Add(settle)); err != nil {
			return err
		}
		conn, err := q.ln.AcceptTCP()
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprintf(env.Stdout, "the server accepts one connection: there is room again\n")
		var d dialled
		select {
		case d = <-q.late:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		q.late <- d // for close
		if d.err != nil {
			return fmt.Errorf("client %d: %w", late, d.err)
		}
		_, err = fmt.Fprintf(env.Stdout, "client %d: connected after %.2f s, at its second or later SYN\n", late, time.Since(q.asked).Seconds())
		return err
	}
}

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

// A slowConn is a connection that takes no more than rate bytes a second.
type slowConn struct {
	net.Conn
	ctx  context.Context
	rate int       // 0: as fast as it goes
	free time.Time // when the link has sent what it was given
}

// Write waits as long as a link of that rate would take, in small pieces.
func (c *slowConn) Write(p []byte) (n int, err error) {
	if c.rate == 0 {
		return c.Conn.Write(p)
	}
	if now := time.Now(); c.free.Before(now) {
		c.free = now // it has been idle
	}
	for piece := range slices.Chunk(p, max(1, c.rate/200)) { // 5 ms each
		c.free = c.free.Add(time.Duration(float64(len(piece)) / float64(c.rate) * float64(time.Second)))
		timer := time.NewTimer(time.Until(c.free))
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
			return n, context.Cause(c.ctx)
		}
		m, err := c.Conn.Write(piece)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// pipe returns both ends of a TCP connection on this machine.
func pipe(ctx context.Context, rate int) (from, to net.Conn, err error) {
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	dialer := net.Dialer{Timeout: 5 * time.Second}
	from, err = dialer.DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	to, err = ln.Accept()
	if err == nil && to.RemoteAddr().String() != from.LocalAddr().String() {
		to.Close()
		err = errors.New("somebody else connected")
	}
	if err != nil {
		from.Close()
		return nil, nil, err
	}
	return &slowConn{Conn: from, ctx: ctx, rate: rate}, to, nil
}

// times is how long each step of a transfer took.
type times struct {
	encode, squeeze, link, unsqueeze, decode time.Duration
}

func (t times) total() time.Duration { return t.encode + t.squeeze + t.link + t.unsqueeze + t.decode }

// bottleneck names the step that took longest.
func (t times) bottleneck() string {
	type step struct {
		name string
		took time.Duration
	}
	return slices.MaxFunc([]step{
		{"the link", t.link},
		{"encoding", t.encode},
		{"compressing", t.squeeze},
		{"inflating", t.unsqueeze},
		{"decoding", t.decode},
	}, func(a, b step) int { return cmp.Compare(a.took, b.took) }).name
}

func transfer(fs *flag.FlagSet) cli.Action {
	many := cli.Number(fs, "many", 3000, 1, 100_000, "send so `many` records")
	rate := cli.Number(fs, "rate", 1_000_000, 1000, 1_000_000_000, "the slow link takes so many `bytes` a second")
	return func(ctx context.Context, env *cli.Env) error {
		students := class(*many)
		var b strings.Builder
		w := table(&b)
		for _, r := range []int{*rate, 0} {
			if r == 0 {
				fmt.Fprintf(w, "\nThe same over loopback, as fast as it goes:\n")
			} else {
				fmt.Fprintf(w, "%d students in one message over a link of %d bytes a second:\n", *many, r)
			}
			fmt.Fprintf(w, "sent\tbytes\tencode\tcompress\tlink\tinflate\tdecode\ttotal\tbottleneck\n")
			for _, n := range notations() {
				if n.name != "json" && n.name != "msgpack" {
					continue
				}
				for _, squeeze := range []bool{false, true} {
					t, size, err := send(ctx, n, squeeze, students, r)
					for try := 1; r == 0 && try < 3 && err == nil; try++ { // milliseconds: the best of three
						var again times
						if again, size, err = send(ctx, n, squeeze, students, r); again.total() < t.total() {
							t = again
						}
					}
					if err != nil {
						return err
					}
					name := n.name
					if squeeze {
						name += ", zlib"
					}
					ms := func(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }
					fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, size,
						ms(t.encode), ms(t.squeeze), ms(t.link), ms(t.unsqueeze), ms(t.decode), ms(t.total()), t.bottleneck())
				}
			}
		}
		w.Flush()
		one, batch, err := singly(ctx, students)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\nThe same students over loopback, each a message of its own, in JSON:\n")
		fmt.Fprintf(&b, "a system call for each  %v\nmany in one call        %v\n", one.Round(10*time.Microsecond), batch.Round(10*time.Microsecond))
		_, err = fmt.Fprint(env.Stdout, b.String())
		return err
	}
}

// send moves the students over a link and returns how long each step took, one
// after the other.
func send(ctx context.Context, n notation, squeeze bool, students []student, rate int) (t times, size int, err error) {
	from, to, err := pipe(ctx, rate)
	if err != nil {
		return t, 0, err
	}
	defer from.Close()
	defer to.Close()
	const limit = 256 << 20
	packer, err := codec.Lookup("zlib")
	if err != nil {
		return t, 0, err
	}
	packer.MaxSize = limit

	lap := time.Now()
	took := func() time.Duration {
		d := time.Since(lap)
		lap = lap.Add(d)
		return d
	}
	data, err := n.encode(students)
	if err != nil {
		return t, 0, err
	}
	t.encode = took()
	if squeeze {
		if data, err = packer.Encode(data); err != nil {
			return t, 0, err
		}
		t.squeeze = took()
	}
	size = len(data)
	sent := make(chan error, 1)
	config := &framing.Config{MaxSize: limit, IdleTimeout: time.Minute}
	go func() { sent <- framing.NewConn(from, nil, config).Send(ctx, data) }()
	got, err := framing.NewConn(to, nil, config).Receive(ctx)
	if err != nil {
		from.Close() // so that the sender ends
	}
	if sendErr := <-sent; err == nil {
		err = sendErr
	}
	if err != nil {
		return t, size, err
	}
	t.link = took()
	if squeeze {
		if got, err = packer.Decode(got); err != nil {
			return t, size, err
		}
		t.unsqueeze = took()
	}
	back, err := n.decode(got)
	if err != nil {
		return t, size, err
	}
	t.decode = took()
	if !same(back, students) {
		return t, size, fmt.Errorf("%s: other students came", n.name)
	}
	return t, size, nil
}

// singly sends each student as a message, first each in a system call of its
// own, then as many as fit in each.
func singly(ctx context.Context, students []student) (one, batch time.Duration, err error) {
	messages := make([][]byte, len(students))
	for i, s := range students {
		if messages[i], err = (codec.JSON{}).Marshal(s); err != nil {
			return 0, 0, err
		}
	}
	for _, together := range []bool{false, true} {
		from, to, err := pipe(ctx, 0)
		if err != nil {
			return 0, 0, err
		}
		defer from.Close()
		defer to.Close()
		start := time.Now()
		sent := make(chan error, 1)
		go func() {
			c := framing.NewConn(from, nil, nil)
			for _, msg := range messages {
				var err error
				if together {
					err = c.Queue(ctx, msg)
				} else {
					err = c.Send(ctx, msg)
				}
				if err != nil {
					sent <- err
					return
				}
			}
			sent <- c.Flush(ctx)
		}()
		c := framing.NewConn(to, nil, &framing.Config{IdleTimeout: time.Minute})
		for range messages {
			if _, err = c.Receive(ctx); err != nil {
				from.Close()
				break
			}
		}
		if sendErr := <-sent; err == nil {
			err = sendErr
		}
		if err != nil {
			return 0, 0, err
		}
		if together {
			batch = time.Since(start)
		} else {
			one = time.Since(start)
		}
	}
	return one, batch, nil
}

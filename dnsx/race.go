package dnsx

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A race is one call of [Dialer.DialContext]. All but the goroutines in wg
// happens in the goroutine of the caller.
type race struct {
	*Dialer
	network string
	port    uint16

	wg      sync.WaitGroup
	lookups chan family  // what lookups have found
	results chan attempt // what has become of attempts

	looking   int              // lookups under way
	running   []netip.AddrPort // attempts under way
	tried     int              // attempts started
	last      netip.Addr       // where the last one went
	queue     []netip.Addr     // still to be tried, in order
	holdUntil time.Time        // IPv6 may still come: start nothing before
	nextAt    time.Time        // the last attempt has the field to itself until then

	err DialError // so far
}

// An attempt is a connection that came about, or did not.
type attempt struct {
	addr netip.AddrPort
	conn net.Conn
	err  error
}

// lookup starts to look up the addresses of one family.
func (r *race) lookup(ctx context.Context, host string, typ Type) {
	r.looking++
	r.wg.Go(func() {
		f := family{typ: typ}
		f.addrs, f.answer, f.err = addressesOf(ctx, r.Resolver, host, typ)
		select {
		case r.lookups <- f:
		case <-ctx.Done():
		}
	})
}

// run waits for what happens first until there is a connection, or nothing left
// to wait for.
func (r *race) run(ctx context.Context) (net.Conn, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var wake <-chan time.Time
		if len(r.queue) > 0 {
			wait := max(time.Until(r.holdUntil), time.Until(r.nextAt))
			if wait <= 0 {
				r.start(ctx)
				continue
			}
			timer.Reset(wait)
			wake = timer.C
		} else if r.looking == 0 && len(r.running) == 0 {
			if r.tried == 0 && r.err.Err == nil {
				r.err.Err = ErrNotFound
			}
			return nil, &r.err
		}
		select {
		case f := <-r.lookups:
			r.resolved(f)
		case a := <-r.results:
			if a.err == nil {
				if t := r.Trace; t != nil && t.Won != nil {
					t.Won(a.addr)
				}
				return a.conn, nil
			}
			r.failed(a.addr, a.err)
		case <-wake:
		case <-ctx.Done():
			cause := context.Cause(ctx)
			if len(r.running) == 0 {
				r.err.Err = errors.Join(r.err.Err, cause)
			}
			for len(r.running) > 0 {
				addr := r.running[0]
				r.failed(addr, &net.OpError{Op: "dial", Net: r.network, Addr: net.TCPAddrFromAddrPort(addr), Err: cause})
			}
			return nil, &r.err
		}
	}
}

// resolved takes the result of a lookup. Addresses that come late are put among
// those still to be tried [RFC 8305 section 3].
//
// [RFC 8305 section 3]: https://www.rfc-editor.org/rfc/rfc8305#section-3
func (r *race) resolved(f family) {
	if t := r.Trace; t != nil && t.Resolved != nil {
		t.Resolved(f.typ, f.answer, f.err)
	}
	r.looking--
	r.holdUntil = time.Time{}
	if f.err != nil {
		r.err.Err = errors.Join(r.err.Err, f.err)
	} else if f.typ == A && r.looking > 0 {
		delay := r.ResolutionDelay
		if delay == 0 {
			delay = 50 * time.Millisecond
		}
		r.holdUntil = time.Now().Add(delay)
	}
	r.add(f.addrs)
}

// add puts addresses into the queue.
func (r *race) add(addrs []netip.Addr) {
	r.queue = append(r.queue, addrs...)
	SortAddrs(r.queue, r.Source)
	r.queue = alternate(r.queue, r.last)
	r.queue = r.queue[:min(len(r.queue), maxAttempts-r.tried)]
}

// alternate reorders sorted addresses so that families take turns [RFC 8305
// section 4]. The family of the best begins, or, after an attempt to last, the
// other one.
//
// [RFC 8305 section 4]: https://www.rfc-editor.org/rfc/rfc8305#section-4
func alternate(sorted []netip.Addr, last netip.Addr) []netip.Addr {
	if len(sorted) == 0 {
		return nil
	}
	four := sorted[0].Is4()
	if last.IsValid() {
		four = !last.Is4()
	}
	var turns [2][]netip.Addr
	for _, addr := range sorted {
		i := 0
		if addr.Is4() != four {
			i = 1
		}
		turns[i] = append(turns[i], addr)
	}
	var mixed []netip.Addr
	for i := range max(len(turns[0]), len(turns[1])) {
		for _, turn := range turns {
			if i < len(turn) {
				mixed = append(mixed, turn[i])
			}
		}
	}
	return mixed
}

// start starts the next attempt.
func (r *race) start(ctx context.Context) {
	addr := netip.AddrPortFrom(r.queue[0], r.port)
	r.last, r.queue = r.queue[0], r.queue[1:]
	r.running = append(r.running, addr)
	r.tried++
	delay := r.AttemptDelay
	if delay == 0 {
		delay = 250 * time.Millisecond
	}
	r.nextAt = time.Now().Add(max(delay, 10*time.Millisecond))
	if t := r.Trace; t != nil && t.Started != nil {
		t.Started(addr)
	}
	dial := r.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	r.wg.Go(func() {
		conn, err := dial(ctx, r.network, addr.String())
		select {
		case r.results <- attempt{addr, conn, err}:
		case <-ctx.Done(): // another one has won, or the caller has given up
			if err == nil {
				conn.Close()
			}
		}
	})
}

// failed notes an attempt that failed. The next one need not wait any longer.
func (r *race) failed(addr netip.AddrPort, err error) {
	if t := r.Trace; t != nil && t.Failed != nil {
		t.Failed(addr, err)
	}
	r.running = slices.DeleteFunc(r.running, func(a netip.AddrPort) bool { return a == addr })
	r.nextAt = time.Time{}
	r.err.Attempts = append(r.err.Attempts, AttemptError{addr, err})
}

package main

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// A limiter lets each key, an address or a name, fail so often in a window of
// time. Who comes while as many attempts are being judged as may still fail
// waits for them: many at once do not slip through, and many who are right are
// not turned away.
type limiter struct {
	tries  int
	window time.Duration

	mu   sync.Mutex
	keys map[string]*attempts
}

type attempts struct {
	failed  int
	pending int           // begun and not judged
	since   time.Time     // when the window began
	changed chan struct{} // closed when one has been judged
}

// maxKeys bounds the table. Whoever has so many addresses that old ones are
// pushed out needs no old ones.
const maxKeys = 4096

// begin begins an attempt, which end must end, or says how long to wait before
// there may be another. The error is that of ctx.
func (l *limiter) begin(ctx context.Context, key string) (wait time.Duration, err error) {
	for {
		l.mu.Lock()
		now := time.Now()
		a := l.keys[key]
		if a == nil {
			if l.keys == nil {
				l.keys = make(map[string]*attempts)
			}
			if len(l.keys) >= maxKeys {
				l.forget(now)
			}
			a = &attempts{since: now, changed: make(chan struct{})}
			l.keys[key] = a
		}
		if now.Sub(a.since) >= l.window {
			a.failed, a.since = 0, now
		}
		if a.failed >= l.tries {
			l.mu.Unlock()
			return a.since.Add(l.window).Sub(now), nil
		}
		if a.failed+a.pending < l.tries {
			a.pending++
			l.mu.Unlock()
			return 0, nil
		}
		changed := a.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// end says how an attempt ended that begin has let through.
func (l *limiter) end(key string, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.keys[key] // is there: what is pending is not forgotten
	a.pending--
	if failed {
		a.failed++
	}
	close(a.changed)
	a.changed = make(chan struct{})
}

// forget makes room: it drops what has expired and, if nothing has, the oldest.
func (l *limiter) forget(now time.Time) {
	oldest := ""
	for key, a := range l.keys {
		switch {
		case a.pending > 0: // no more than there are connections
		case now.Sub(a.since) >= l.window:
			delete(l.keys, key)
		case oldest == "" || a.since.Before(l.keys[oldest].since):
			oldest = key
		}
	}
	if len(l.keys) >= maxKeys {
		delete(l.keys, oldest)
	}
}

// origin is what counts as one address: over IPv6 the network of 64 bits, of
// which every customer has at least one to pick from.
func origin(addr netip.Addr) string {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return prefix.String()
}

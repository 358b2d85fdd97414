package dnsx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Dialer connects to a host by name, and does not let a family that does not
// work delay the user: Happy Eyeballs [RFC 8305]. Both lookups start at once; the
// addresses are tried in turn, the families alternating; an attempt gets a
// quarter of a second before the next one starts beside it; the first that is
// connected wins, and the others are given up. Its method DialContext suits
// whatever takes one, such as net/http.Transport.
//
// [RFC 8305]: https://www.rfc-editor.org/rfc/rfc8305
type Dialer struct {
	Resolver Resolver // needed unless only addresses and localhost are dialled

	// Dial connects to one address; nil means that of a zero [net.Dialer]. It
	// must return soon when its context ends.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Source is that of [SortAddrs]; nil asks the kernel.
	Source func(dst netip.Addr) netip.Addr

	// ResolutionDelay is how long IPv4 addresses wait for an answer about
	// IPv6; 0 means 50 ms, negative not at all.
	ResolutionDelay time.Duration

	// AttemptDelay is how long an attempt has the field to itself; 0 means
	// 250 ms, and less than 10 ms counts as 10 ms.
	AttemptDelay time.Duration

	// Trace is told what happens, by the goroutine that called DialContext.
	Trace *DialTrace
}

// A DialTrace is a set of callbacks, any of which may be nil.
type DialTrace struct {
	Resolved func(typ Type, answer *Answer, err error) // a lookup ended, with an answer or an error
	Started  func(addr netip.AddrPort)                 // an attempt started
	Failed   func(addr netip.AddrPort, err error)      // an attempt failed
	Won      func(addr netip.AddrPort)                 // an attempt succeeded; those under way are given up
}

// A DialError says why no connection came about. Either no address was found,
// then Attempts is empty and Err says why, or none could be reached. Unwrap
// gives all causes.
type DialError struct {
	Address  string         // as asked, "host:service"
	Attempts []AttemptError // in the order in which they failed
	Err      error          // of the lookups that failed; or ErrNotFound; or why the context ended, if no attempt was under way
}

// An AttemptError says why one address could not be reached.
type AttemptError struct {
	Addr netip.AddrPort // what was tried
	Err  error          // what Dial said, or the cause of the end of the context
}

// Error tells everything in one line.
func (e *DialError) Error() string {
	var parts []string
	for _, cause := range e.Unwrap() {
		parts = append(parts, strings.ReplaceAll(cause.Error(), "\n", "; "))
	}
	return fmt.Sprintf("dnsx: cannot reach %s: %s", e.Address, strings.Join(parts, "; "))
}

// Unwrap returns the causes, attempts first.
func (e *DialError) Unwrap() []error {
	var causes []error
	for _, a := range e.Attempts {
		causes = append(causes, a.Err)
	}
	if e.Err != nil {
		causes = append(causes, e.Err)
	}
	return causes
}

// maxAttempts bounds how many addresses of a host are tried.
const maxAttempts = 64

// DialContext connects to an address "host:service"; the host and the service
// are those of [Hints.Candidates]. The network is "tcp", "tcp4" or "tcp6". The
// error of a failed connection is a [*DialError]. DialContext returns when the
// goroutines that it started have ended.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	four, six, ok := families(network)
	if !ok || !strings.HasPrefix(network, "tcp") {
		return nil, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dnsx: %w", err)
	}
	port, err := servicePort(ctx, "tcp", service, false)
	if err != nil {
		return nil, err
	}
	r := &race{
		Dialer: d, network: network, port: port,
		lookups: make(chan family), results: make(chan attempt),
		err: DialError{Address: address},
	}
	ctx, cancel := context.WithCancel(ctx)
	defer r.wg.Wait()
	defer cancel()
	known := knownHost(host, false)
	if known == nil && d.Resolver == nil {
		return nil, errors.New("dnsx: a Dialer without a Resolver cannot look up " + host)
	}
	for _, f := range []struct {
		typ    Type
		wanted bool
	}{{AAAA, six}, {A, four}} {
		switch {
		case !f.wanted:
		case known == nil:
			r.lookup(ctx, host, f.typ)
		default:
			r.add(slices.DeleteFunc(slices.Clone(known), func(a netip.Addr) bool { return a.Is4() != (f.typ == A) }))
		}
	}
	return r.run(ctx)
}

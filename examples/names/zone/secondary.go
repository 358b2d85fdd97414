package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

// Bounds of what a secondary takes from its primary.
const (
	maxTransfer     = 64 << 20 // octets
	transferTimeout = 30 * time.Second
)

var errTransfer = errors.New("transfer")

// transfer fetches a whole zone: one query over TCP, and as many messages as it
// takes, from the SOA record to the SOA record again (AXFR, RFC 5936).
func transfer(ctx context.Context, conn net.Conn, origin string) (*dnsx.Zone, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	c := framing.NewConn(conn, framing.Prefix{Width: 2}, nil)
	defer c.Close()
	query := dnsx.NewQuery(origin, dnsx.AXFR)
	query.RecursionDesired, query.EDNS = false, nil
	wire, err := query.Pack()
	if err != nil {
		return nil, err
	}
	if err := c.Send(ctx, wire); err != nil {
		return nil, err
	}
	var text strings.Builder
	for ends := 0; ends < 2; {
		wire, err := c.Receive(ctx)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, fmt.Errorf("%w of %s: %w", errTransfer, origin, err)
		}
		m, err := dnsx.ParseMessage(wire)
		switch {
		case err != nil:
			return nil, err
		case m.Rcode != dnsx.RcodeNoError:
			return nil, fmt.Errorf("%w of %s: the primary says %s", errTransfer, origin, m.Rcode)
		case text.Len() == 0 && (len(m.Answer) == 0 || m.Answer[0].Type != dnsx.SOA):
			return nil, fmt.Errorf("%w of %s: it does not begin with a SOA record", errTransfer, origin)
		case len(m.Answer) == 0:
			return nil, fmt.Errorf("%w of %s: a message without records", errTransfer, origin)
		}
		for _, r := range m.Answer {
			if r.Type == dnsx.SOA {
				ends++
			}
			if ends < 2 {
				fmt.Fprintln(&text, r)
			}
		}
		if text.Len() > maxTransfer {
			return nil, fmt.Errorf("%w of %s: more than %d octets", errTransfer, origin, maxTransfer)
		}
	}
	z, err := dnsx.ParseZone(strings.NewReader(text.String()), "", origin+" from its primary")
	if err == nil && !dnsx.EqualNames(z.Origin(), origin) {
		err = fmt.Errorf("%w of %s: this is %s", errTransfer, origin, z.Origin())
	}
	return z, err
}

// A copyOf is a zone that a secondary keeps.
type copyOf struct {
	origin  string
	primary netip.AddrPort
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	server  *dnsx.Server
	out     io.Writer
	from    []netip.Addr  // who may send NOTIFY
	notices chan struct{} // holds a token when one has come

	zone *dnsx.Zone
}

// notified is told by the server of each NOTIFY.
func (c *copyOf) notified(client netip.Addr, zone string) bool {
	if !slices.Contains(c.from, client) || !dnsx.EqualNames(zone, c.origin) {
		return false
	}
	select {
	case c.notices <- struct{}{}:
	default:
	}
	return true
}

// update fetches the zone if the primary has a newer one.
func (c *copyOf) update(ctx context.Context) error {
	client := &dnsx.Client{Dial: c.dial}
	query := dnsx.NewQuery(c.origin, dnsx.SOA)
	query.RecursionDesired = false
	m, err := client.Exchange(ctx, c.primary, query)
	if err != nil {
		return err
	}
	if m.Rcode != dnsx.RcodeNoError || len(m.Answer) == 0 || m.Answer[0].Type != dnsx.SOA {
		return fmt.Errorf("%s does not have the zone %s: %s", c.primary, c.origin, m.Rcode)
	}
	serial, err := soaNumber(m.Answer[0], 0)
	if err != nil {
		return err
	}
	// Serial numbers go in a circle (RFC 1982).
	if c.zone != nil && int32(uint32(serial)-c.zone.Serial()) <= 0 {
		fmt.Fprintf(c.out, "serial %d is what we have\n", serial)
		return nil
	}
	conn, err := c.dial(ctx, "tcp", c.primary.String())
	if err != nil {
		return err
	}
	z, err := transfer(ctx, conn, c.origin)
	if err != nil {
		return err
	}
	c.zone = z
	c.server.SetZone(z)
	records := 0
	for range z.Records() {
		records++
	}
	fmt.Fprintf(c.out, "transferred %s serial %d: %d records\n", z.Origin(), z.Serial(), records)
	return nil
}

// soaNumber returns one of the five numbers of a SOA record: serial, refresh, retry,
// expire, minimum.
func soaNumber(soa dnsx.Record, i int) (int64, error) {
	fields := strings.Fields(soa.Data)
	if len(fields) != 7 {
		return 0, fmt.Errorf("a SOA record %q", soa.Data)
	}
	return strconv.ParseInt(fields[2+i], 10, 64)
}

// keep keeps the zone up to date until ctx ends: at each NOTIFY, and as
// the zone's SOA record says. It gives up when the zone has expired.
func (c *copyOf) keep(ctx context.Context) error {
	last := time.Now()
	for {
		var numbers [5]time.Duration
		for r := range c.zone.Records() { // the first is the SOA record
			for i := range numbers {
				n, err := soaNumber(r, i)
				if err != nil {
					return err
				}
				numbers[i] = max(time.Duration(n)*time.Second, time.Second)
			}
			break
		}
		refresh, retry, expire := numbers[1], numbers[2], numbers[3]
		wait := refresh
		if time.Since(last) >= refresh {
			wait = retry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.notices:
			fmt.Fprintln(c.out, "the primary says that the zone has changed")
		case <-time.After(wait):
		}
		switch err := c.update(ctx); {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			last = time.Now()
		case time.Since(last) > expire:
			return fmt.Errorf("%s has expired: no word of %s for %v: %w", c.origin, c.primary, expire, err)
		default:
			fmt.Fprintf(c.out, "no news: %v\n", err)
		}
	}
}

func secondary(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	primary := fs.String("primary", "", "where the zone comes from, an `address:port`")
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("one NAME is wanted (zone secondary -h shows the usage)")
		}
		origin, err := dnsx.ParseName(env.Args[0])
		if err != nil {
			return cli.Usagef("%q is not a domain name", env.Args[0])
		}
		at, err := netip.ParseAddrPort(*primary)
		if err != nil {
			return cli.Usagef("-primary: %q is not address:port", *primary)
		}
		pc, ln, err := dnsx.Listen(ctx, addr.String())
		if err != nil {
			return err
		}
		c := newCopy(origin, at, (&net.Dialer{}).DialContext, env.Stdout)
		err = env.Listening(ln.Addr())
		if err == nil {
			err = c.update(ctx)
		}
		if err != nil {
			return errors.Join(err, pc.Close(), ln.Close())
		}
		return c.serve(ctx, pc, ln)
	}
}

func newCopy(origin string, primary netip.AddrPort, dial func(context.Context, string, string) (net.Conn, error), out io.Writer) *copyOf {
	c := &copyOf{
		origin: origin, primary: primary, dial: dial, out: out,
		from: []netip.Addr{primary.Addr()}, notices: make(chan struct{}, 1),
	}
	c.server = &dnsx.Server{Notified: c.notified}
	return c
}

// serve answers from the copy and keeps it.
func (c *copyOf) serve(ctx context.Context, pc net.PacketConn, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		served <- serve(ctx, c.server, pc, ln)
		cancel() // without a server there is nothing to keep the zone for
	}()
	err := c.keep(ctx)
	cancel()
	return errors.Join(err, <-served)
}

// notify tells a secondary that the zone has changed, and waits for it to say
// that it has heard (RFC 1996).
func notify(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), server netip.AddrPort, z *dnsx.Zone) error {
	m := &dnsx.Message{
		Header:    dnsx.Header{ID: uint16(z.Serial()), Opcode: dnsx.OpcodeNotify, Authoritative: true},
		Questions: []dnsx.Question{{Name: z.Origin(), Type: dnsx.SOA}},
	}
	wire, err := m.Pack()
	if err != nil {
		return err
	}
	conn, err := dial(ctx, "udp", server.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	buf := make([]byte, 512)
	for range 3 { // a datagram may be lost
		if _, err := conn.Write(wire); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		n, err := conn.Read(buf)
		if err == nil && n >= 12 && binary.BigEndian.Uint16(buf) == m.ID {
			answer, err := dnsx.ParseMessage(buf[:n])
			if err != nil {
				return err
			}
			if answer.Rcode != dnsx.RcodeNoError {
				return fmt.Errorf("%s does not want to hear of %s: %s", server, z.Origin(), answer.Rcode)
			}
			return nil
		}
	}
	return fmt.Errorf("%s does not answer to NOTIFY", server)
}

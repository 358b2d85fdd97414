package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/dnsx/dnstest"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// A stage is the Internet of the demo, and the start-up in it.
type stage struct {
	*dnstest.Internet
	out   io.Writer
	zones []*dnsx.Zone
	wg    sync.WaitGroup
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// resolver begins at the root and remembers nothing.
func (s *stage) resolver() (*dnsx.Iterative, error) {
	roots, err := dnsx.ParseHints(strings.NewReader(s.RootHints()))
	return &dnsx.Iterative{Roots: roots, Port: s.Port(), Client: dnsx.Client{Dial: s.Dial}}, err
}

// at is an address of the start-up, 127.53.50.n.
func (s *stage) at(n byte) netip.AddrPort { return netip.AddrPortFrom(s.Addr(50, n), s.Port()) }

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		internet, err := dnstest.Start(dnstest.Config{})
		if err != nil {
			return err
		}
		defer internet.Close()
		s := &stage{Internet: internet, out: env.Stdout}
		if s.zones, err = (&files{}).zones(); err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		defer s.wg.Wait()
		defer cancel()

		primary := &dnsx.Server{Zones: s.zones, AllowTransfer: netip.Addr.IsLoopback}
		for _, act := range []func(context.Context, *dnsx.Server) error{s.enter, s.types, s.load, s.copy} {
			if err := act(ctx, primary); err != nil {
				return err
			}
		}
		return nil
	}
}

// ask asks and tells.
func (s *stage) ask(ctx context.Context, r dnsx.Resolver, name string, typ dnsx.Type) (*dnsx.Answer, error) {
	answer, err := r.Resolve(ctx, name, typ)
	if err != nil {
		return nil, err
	}
	if answer.Status != dnsx.OK {
		s.say("  %-5s %s: %s", typ, name, answer.Status)
	}
	for _, record := range answer.Records {
		s.say("  %-5s %s: %s", record.Type, record.Name, record.Data)
	}
	return answer, nil
}

// enter starts the server of the start-up, and then tells the registry.
func (s *stage) enter(ctx context.Context, primary *dnsx.Server) error {
	pc, ln, err := s.Listen(s.Addr(50, 1))
	if err != nil {
		return err
	}
	s.wg.Go(func() { _ = serve(ctx, primary, pc, ln) })
	s.say("ns1.brotes.com listens at %s. But nobody comes, for com knows nothing of it:", s.Addr(50, 1))
	r, err := s.resolver()
	if err != nil {
		return err
	}
	answer, err := s.ask(ctx, r, "www.brotes.com.", dnsx.A)
	if err != nil {
		return err
	}
	if answer.Status != dnsx.NXDomain {
		return errors.New("brotes.com exists before it was registered")
	}
	s.say("The registrar tells the registries above: name servers, and as glue their addresses.")
	for i, above := range []string{"com.", "53.127.in-addr.arpa."} {
		records := delegation(s.zones[i])
		for _, record := range records {
			s.say("  into %s  %s %s %s", above, record.Name, record.Type, record.Data)
		}
		if err := s.Add(above, records...); err != nil {
			return err
		}
	}
	return nil
}

// types asks for one of everything.
func (s *stage) types(ctx context.Context, _ *dnsx.Server) error {
	s.say("Now a resolver finds it from the root down, all types:")
	r, err := s.resolver()
	if err != nil {
		return err
	}
	for _, q := range []struct{ name, typ string }{
		{"brotes.com.", "MX"},
		{"mail.brotes.com.", "A"},
		{"mail.brotes.com.", "AAAA"},
		{"brotes.com.", "TXT"},
		{"brotes.com.", "LOC"},
		{"ana.brotes.com.", "CERT"},
		{"_imaps._tcp.brotes.com.", "SRV"},
		{"mail.viveros.brotes.com.", "A"},
		{"20.50.53.127.in-addr.arpa.", "PTR"},
		{"nothing.brotes.com.", "A"},
		{"mail.brotes.com.", "MX"},
	} {
		typ, err := dnsx.ParseType(q.typ)
		if err != nil {
			return err
		}
		answer, err := s.ask(ctx, r, q.name, typ)
		if err != nil {
			return err
		}
		if want := q.name != "nothing.brotes.com." && q.typ+q.name != "MXmail.brotes.com."; (answer.Status == dnsx.OK) != want {
			return fmt.Errorf("%s %s: %s", q.name, q.typ, answer.Status)
		}
	}
	return nil
}

// visitors is how many come to the shop.
const visitors = 400

// load lets visitors come to the four machines of the shop, each to the first
// address of its answer.
func (s *stage) load(ctx context.Context, primary *dnsx.Server) error {
	shop := &machines{}
	defer shop.close()
	if err := shop.open(s.Listen, s.at(11).Addr(), s.at(12).Addr(), s.at(13).Addr(), s.at(14).Addr()); err != nil {
		return err
	}
	r, err := s.resolver()
	if err != nil {
		return err
	}
	cache := &dnsx.Cache{Resolver: r}
	defer cache.Close()
	for _, way := range []struct {
		what string
		r    dnsx.Resolver
	}{
		{"each asks ns1 itself", r},
		{"all ask one cache, which got the answer once", cache},
	} {
		before := primary.Stats().UDP
		counts := map[string]int{}
		for range visitors {
			answer, err := way.r.Resolve(ctx, "www.brotes.com.", dnsx.A)
			if err != nil {
				return err
			}
			addr, err := netip.ParseAddr(answer.Records[0].Data)
			if err != nil {
				return err
			}
			machine, err := visit(ctx, s.Dial, netip.AddrPortFrom(addr, s.Port()))
			if err != nil {
				return err
			}
			counts[machine]++
		}
		s.say("%d visitors of www, %s (%d questions to ns1). Hits by machine:", visitors, way.what, primary.Stats().UDP-before)
		if err := printCounts(s.out, counts); err != nil {
			return err
		}
	}
	return nil
}

// copy starts the secondary, changes the zone and tells it.
func (s *stage) copy(ctx context.Context, primary *dnsx.Server) error {
	s.say("ns2.brotes.com, the secondary, gets the zone from ns1:")
	heard := make(chan string, 10)
	c := newCopy("brotes.com.", s.at(1), s.Dial, writerFunc(func(p []byte) (int, error) {
		s.say("  ns2: %s", strings.TrimSpace(string(p)))
		heard <- string(p)
		return len(p), nil
	}))
	c.from = append(c.from, netip.AddrFrom4([4]byte{127, 0, 0, 1})) // from where Dial dials
	if err := c.update(ctx); err != nil {
		return err
	}
	<-heard
	pc, ln, err := s.Listen(s.Addr(50, 2))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.wg.Go(func() { _ = c.serve(ctx, pc, ln) })

	s.say("A fifth machine: ns1 gets a new zone file, with a higher serial, and sends NOTIFY:")
	text := strings.Replace(forwardZone, "2026112201", "2026112202", 1) + "www A 127.53.50.15\n"
	z, err := dnsx.ParseZone(strings.NewReader(text), "", "brotes.com.zone")
	if err != nil {
		return err
	}
	primary.SetZone(z)
	if err := notify(ctx, s.Dial, s.at(2), z); err != nil {
		return err
	}
	for text := ""; !strings.Contains(text, "serial 2026112202"); {
		select {
		case text = <-heard:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	client := &dnsx.Client{Dial: s.Dial}
	answer, err := client.Exchange(ctx, s.at(2), dnsx.NewQuery("www.brotes.com.", dnsx.A))
	if err != nil {
		return err
	}
	s.say("ns2 now has %d addresses of www, with authority: %t", len(answer.Answer), answer.Authoritative)
	if len(answer.Answer) != 5 || !answer.Authoritative {
		return errors.New("the secondary does not have the change")
	}
	return nil
}

// writerFunc is an io.Writer that is a function.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/httpx"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// siteName is the host that the page is on.
const siteName = "plaza.test"

// site serves a page of n objects at / and, at /1.gif and so on, the objects.
func site(n, size int) http.Handler {
	page := document(n)
	object := []byte(strings.Repeat("o", size))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	for i := range n {
		mux.HandleFunc(fmt.Sprintf("GET /%d.gif", i+1), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "image/gif")
			w.Write(object)
		})
	}
	return mux
}

// document is the page: text, and n pictures.
func document(n int) []byte {
	var page strings.Builder
	page.WriteString("<!doctype html>\n<title>Plaza</title>\n<p>A page and what is in it.\n")
	for i := range n {
		fmt.Fprintf(&page, "<img alt=\"\" src=\"/%d.gif\">\n", i+1)
	}
	return []byte(page.String())
}

// A lab is the site and the name server that knows it, both far away: relays
// in front of them delay what passes.
type lab struct {
	stub *dnsx.Stub // asks the name server, over its relay
	port string     // of the relay to the site
	stop func() error
}

// startLab puts the site n objects large behind a link.
func startLab(ctx context.Context, p path, n, size int) (_ *lab, err error) {
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	var relays []*simnet.Relay
	l := &lab{stop: func() error {
		cancel()
		for _, r := range relays {
			r.Close()
		}
		return group.Wait()
	}}
	defer func() {
		if err != nil {
			l.stop()
		}
	}()
	link := simnet.Link{Delay: p.rtt / 2, Rate: p.rate}

	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	web := &httpx.Server{Handler: site(n, size)}
	group.Go(func() error { return unlessStopped(ctx, web.Serve(ctx, ln)) })
	tcp, err := simnet.RelayTCP("127.0.0.1:0", ln.Addr().String(), &simnet.RelayConfig{Up: link, Down: link})
	if err != nil {
		return nil, err
	}
	relays = append(relays, tcp)
	if _, l.port, err = net.SplitHostPort(tcp.Addr().String()); err != nil {
		return nil, err
	}

	zone, err := dnsx.ParseZone(strings.NewReader("@ 60 SOA ns root 1 3600 600 86400 60\n@ 60 NS ns\nns 60 A 127.0.0.1\n@ 60 A 127.0.0.1\n"), siteName, "zone")
	if err != nil {
		return nil, err
	}
	pc, err := config.ListenPacket(ctx, "udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	names := &dnsx.Server{Zones: []*dnsx.Zone{zone}}
	group.Go(func() error { return unlessStopped(ctx, names.Serve(ctx, pc, nil)) })
	far := simnet.Link{Delay: p.dns / 2}
	udp, err := simnet.RelayUDP("127.0.0.1:0", pc.LocalAddr().String(), &simnet.RelayConfig{Up: far, Down: far})
	if err != nil {
		return nil, err
	}
	relays = append(relays, udp)
	at, err := netip.ParseAddrPort(udp.Addr().String())
	if err != nil {
		return nil, err
	}
	l.stub = &dnsx.Stub{Servers: []netip.AddrPort{at}}
	return l, nil
}

// unlessStopped drops the error with which a server ends because it was told
// to.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// lookup asks the name server for the site's address.
func (l *lab) lookup(ctx context.Context) (string, error) {
	answer, err := l.stub.Resolve(ctx, siteName+".", dnsx.A)
	if err != nil {
		return "", err
	}
	for _, r := range answer.Records {
		if r.Type == dnsx.A {
			return net.JoinHostPort(r.Data, l.port), nil
		}
	}
	return "", fmt.Errorf("%s has no address", siteName)
}

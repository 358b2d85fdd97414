package dnsx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"

	"github.com/zocalo-go/zocalo/dnsx"
)

func ExampleMailHosts() {
	in, iterative := internet()
	defer in.Close()
	resolver := &dnsx.Cache{Resolver: iterative}

	route, err := dnsx.MailHosts(context.Background(), resolver, "example.com")
	if err != nil {
		log.Fatal(err)
	}
	for _, host := range route.Hosts {
		fmt.Println(host.Preference, host.Name, host.Addresses)
	}

	_, err = dnsx.MailHosts(context.Background(), resolver, "example.net")
	if failure, ok := errors.AsType[*dnsx.MailError](err); ok {
		fmt.Println(failure.Reason, failure.Temporary())
	}
	// Output:
	// 10 mail.example.com. [2001:db8:53:10::20 127.53.10.20]
	// 20 mail2.example.com. [127.53.10.21]
	// null-mx false
}

func ExampleLookupAddr() {
	in, resolver := internet()
	defer in.Close()

	reverse, err := dnsx.LookupAddr(context.Background(), resolver, netip.MustParseAddr("127.53.10.20"))
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range reverse.Names {
		fmt.Println(name.Name, name.Confirmed)
	}
	// Output: mail.example.com. true
}

func ExampleCompareNames() {
	fmt.Println(dnsx.CompareNames("www.unizocalo.es", "web1.unizocalo.es"))
	fmt.Println(dnsx.CompareNames("www.alfa.co.uk", "www.beta.co.uk"))
	// Output:
	// same organisation
	// different organisations
}

func ExampleHints() {
	in, resolver := internet()
	defer in.Close()

	hints := dnsx.Hints{
		Network:       "tcp",
		CanonicalName: true,
		Source:        dnsx.SourceFrom(netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("192.0.2.7")),
	}
	candidates, err := hints.Candidates(context.Background(), resolver, "ftp.example.com", "smtp")
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range candidates {
		fmt.Println(c.Network, c.Addr, c.Canonical)
	}
	// Output:
	// tcp [2001:db8:53:10::10]:25 www.example.com.
	// tcp 127.53.10.10:25 www.example.com.
}

// A machine with an address for its own cable only has no use for the IPv6
// addresses of others: they go last.
func ExampleSortAddrs() {
	addrs := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("198.51.100.121")}
	dnsx.SortAddrs(addrs, dnsx.SourceFrom(netip.MustParseAddr("fe80::1"), netip.MustParseAddr("198.51.100.117")))
	fmt.Println(addrs)
	// Output: [198.51.100.121 2001:db8::1]
}

// Neither the lookups nor the attempts wait for each other.
func ExampleDialer() {
	in, resolver := internet()
	defer in.Close()

	dialer := dnsx.Dialer{
		Resolver: resolver,
		Source:   dnsx.SourceFrom(netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("192.0.2.7")),
		// Instead of the network: IPv6 is refused, IPv4 accepted.
		Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			if netip.MustParseAddrPort(address).Addr().Is6() {
				return nil, errors.New("refused")
			}
			conn, server := net.Pipe()
			go func() { fmt.Fprintf(server, "hello from %s", address); server.Close() }()
			return conn, nil
		},
	}
	conn, err := dialer.DialContext(context.Background(), "tcp", "www.example.com:http")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	said, _ := io.ReadAll(conn)
	fmt.Printf("%s\n", said)
	// Output: hello from 127.53.10.10:80
}

func ExampleWhois() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	registry := &dnsx.WhoisServer{Answer: func(_ context.Context, query string) string {
		return "Domain Name: " + query + "\nRegistrar: Example Names\nCreation Date: 1995-08-14T04:00:00Z\n"
	}}
	go func() { done <- registry.Serve(ctx, ln) }()

	whois := &dnsx.Whois{Server: ln.Addr().String()} // without it, that of the IANA
	record, err := whois.Lookup(ctx, "example.com")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(record.Domain, record.Registrar, record.Created.Year())
	cancel()
	<-done
	// Output: example.com Example Names 1995
}

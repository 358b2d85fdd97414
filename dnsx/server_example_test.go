package dnsx_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/zocalo-go/zocalo/dnsx"
)

const zoneFile = `
$ORIGIN brote.test.
$TTL 300
@    SOA ns1 hostmaster 1 3600 600 604800 60
@    NS  ns1
ns1  A   192.0.2.1
www  A   192.0.2.11
*.en CNAME www
`

// A name server for one zone, and a question to it.
func ExampleServer() {
	zone, err := dnsx.ParseZone(strings.NewReader(zoneFile), "", "brote.zone")
	if err != nil {
		slog.Error("bad zone", "err", err)
		return
	}
	ctx := context.Background()
	pc, ln, err := dnsx.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		slog.Error("no socket", "err", err)
		return
	}
	server := &dnsx.Server{Zones: []*dnsx.Zone{zone}}
	go server.Serve(ctx, pc, ln)
	defer server.Close()

	client := &dnsx.Client{KeepCase: true}
	at := netip.MustParseAddrPort(ln.Addr().String())
	for _, name := range []string{"shop.en.brote.test", "nothing.brote.test", "www.example.com"} {
		m, err := client.Exchange(ctx, at, dnsx.NewQuery(name, dnsx.A))
		if err != nil {
			slog.Error("no answer", "err", err)
			return
		}
		fmt.Println(name, m.Rcode, m.Authoritative)
		for _, r := range m.Answer {
			fmt.Println(" ", r.Name, r.Type, r.Data)
		}
	}
	// Output:
	// shop.en.brote.test NOERROR true
	//   shop.en.brote.test. CNAME www.brote.test.
	//   www.brote.test. A 192.0.2.11
	// nothing.brote.test NXDOMAIN true
	// www.example.com REFUSED false
}

// A zone file that has a fault, and one whose fault is small.
func ExampleParseZone() {
	_, err := dnsx.ParseZone(strings.NewReader(zoneFile+"www CNAME ns1\n"), "", "brote.zone")
	fmt.Println(err)
	zone, err := dnsx.ParseZone(strings.NewReader(zoneFile+"sub NS ns.sub\n"), "", "brote.zone")
	fmt.Println(zone.Origin(), err)
	fmt.Println(zone.Warnings()[0])
	// Output:
	// dnsx: brote.zone:9: www.brote.test. CNAME: a CNAME beside other records
	// brote.test. <nil>
	// brote.zone: sub.brote.test. NS: no glue, that is, no address for ns.sub.brote.test.: the delegation leads nowhere
}

// All records of a zone, as a zone file.
func ExampleZone() {
	zone, err := dnsx.ParseZone(strings.NewReader(zoneFile), "", "brote.zone")
	if err != nil {
		slog.Error("bad zone", "err", err)
		return
	}
	for r := range zone.Records() {
		fmt.Println(strings.ReplaceAll(r.String(), "\t", " "))
	}
	// Output:
	// brote.test. 300 IN SOA ns1.brote.test. hostmaster.brote.test. 1 3600 600 604800 60
	// brote.test. 300 IN NS ns1.brote.test.
	// *.en.brote.test. 300 IN CNAME www.brote.test.
	// ns1.brote.test. 300 IN A 192.0.2.1
	// www.brote.test. 300 IN A 192.0.2.11
}

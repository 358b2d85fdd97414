package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/lab/names"
)

// zones are those of the registries: their hosts need names, as all hosts do.
var zones = map[string]string{
	"iana.org.": "whois A 10.53.43.1",
	"nic.com.":  "whois A 10.53.43.2",
	"rir.net.":  "whois A 10.53.43.4",
	"registrador.com.": `
whois  A 10.53.43.3
silent A 10.53.43.5 ; switched off
`,
}

// zoneHead is the start of each of them.
const zoneHead = `
$TTL 3600
@ SOA ns1.example.net. hostmaster 1 7200 3600 1209600 300
@ NS  ns1.example.net.
`

// A registry knows domains and networks: what it says about the longest that
// fits the query, and what it says if none does.
type registry struct {
	addr    string
	answers map[string]string
	none    string
}

// world are the registries. Each has the form of answers of those that it
// stands for; no two forms are the same, since nobody has laid down any.
var world = []registry{
	{"10.53.43.1", map[string]string{ // whois.iana.org
		"com": `
% IANA WHOIS server

refer:        whois.nic.com

domain:       COM
organisation: Registry of com
status:       ACTIVE
created:      1985-01-01
`,
		"es": `
% IANA WHOIS server

domain:       ES
organisation: Registry of es
remarks:      The registry answers on its web site only
status:       ACTIVE
created:      1988-04-14
`,
		"10.0.0.0/8": `
% IANA WHOIS server

refer:        whois.rir.net

inetnum:      10.0.0.0 - 10.255.255.255
organisation: Administered by the RIR
status:       LEGACY
`,
		"2001:db8::/32": `
% IANA WHOIS server

refer:        whois.rir.net

inet6num:     2001:DB8:0:0:0:0:0:0/32
organisation: Administered by the RIR
status:       ALLOCATED
`,
	}, `
% IANA WHOIS server

% This query returned 0 objects.
`},

	{"10.53.43.2", map[string]string{ // whois.nic.com, a registry
		"example.com": `
   Domain Name: EXAMPLE.COM
   Registrar WHOIS Server: whois.registrador.com
   Updated Date: 2026-01-09T12:00:00Z
   Creation Date: 1995-08-14T04:00:00Z
   Registry Expiry Date: 2027-08-13T04:00:00Z
   Registrar: Registrador Ejemplo, S.A.
   Domain Status: clientTransferProhibited https://icann.org/epp#clientTransferProhibited
   Name Server: NS1.EXAMPLE.COM
   Name Server: NS2.EXAMPLE.COM
>>> Last update of whois database: 2026-02-01T00:00:00Z <<<
`,
		"zocalo-labs.com": `
   Domain Name: ZOCALO-LABS.COM
   Registrar WHOIS Server:
   Updated Date: 2026-01-20T09:30:00Z
   Creation Date: 2026-01-20T09:30:00Z
   Registry Expiry Date: 2027-01-20T09:30:00Z
   Registrar: Dominios Baratos
   Name Server: NS1.ZOCALO-LABS.COM
   Name Server: NS2.ZOCALO-LABS.COM
`,
		"loop.com": `
   Domain Name: LOOP.COM
   Registrar WHOIS Server: whois.registrador.com
   Registrar: Registrador Ejemplo, S.A.
`,
		"silent.com": `
   Domain Name: SILENT.COM
   Registrar WHOIS Server: silent.registrador.com
   Creation Date: 2001-02-03T00:00:00Z
   Registrar: Silencio
`,
	}, `
No match for this domain.
>>> Last update of whois database: 2026-02-01T00:00:00Z <<<
`},

	{"10.53.43.3", map[string]string{ // whois.registrador.com, a registrar
		"example.com": `
Domain Name: example.com
Registrar WHOIS Server: whois.registrador.com
Updated Date: 2026-01-09
Registrar: Registrador Ejemplo, S.A.
Registrant Organization: Example Company
`,
		"loop.com": `
Domain Name: loop.com
Whois Server: whois.nic.com
`,
	}, `
Not one of ours.
`},

	{"10.53.43.4", map[string]string{ // whois.rir.net, which hands out addresses
		"10.53.10.0/24": `
NetRange:       10.53.10.0 - 10.53.10.255
CIDR:           10.53.10.0/24
OrgName:        Example Company
RegDate:        2009-06-29
Updated:        2025-06-30
`,
		"10.53.14.0/24": `
inetnum:        10.53.14.0 - 10.53.14.255
org-name:       Universidad del Zócalo
created:        1994-05-02T00:00:00Z
last-modified:  2024-03-01T10:00:00Z
`,
		"2001:db8:53::/48": `
inet6num:       2001:db8:53::/48
org-name:       Example Company
created:        2012-06-06T00:00:00Z
last-modified:  2025-06-30T10:00:00Z
`,
	}, `
%ERROR:101: no entries found
`},
}

// answer answers a query.
func (r registry) answer(_ context.Context, query string) string {
	best, length := r.none, -1
	addr, err := netip.ParseAddr(query)
	isAddr := err == nil
	for key, text := range r.answers {
		prefix, err := netip.ParsePrefix(key)
		isPrefix := err == nil
		switch {
		case isAddr && isPrefix && prefix.Contains(addr) && prefix.Bits() > length:
			best, length = text, prefix.Bits()
		case !isAddr && !isPrefix && dnsx.InZone(query+".", key+".") && len(key) > length:
			best, length = text, len(key)
		}
	}
	return strings.TrimPrefix(best, "\n")
}

// registries are the whois servers in memory.
type registries struct {
	service  *names.Service
	resolver *dnsx.Cache
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

func openRegistries() (*registries, error) {
	service, err := names.Start()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &registries{service: service, resolver: service.Resolver(nil), cancel: cancel}
	var errs []error
	for origin, hosts := range zones {
		errs = append(errs, service.SetZone("$ORIGIN "+origin+zoneHead+hosts+"\n"))
	}
	for _, registry := range world {
		ln, err := service.Network.Host(netip.MustParseAddr(registry.addr)).Listen("tcp", ":43")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		server := &dnsx.WhoisServer{Answer: registry.answer}
		r.wg.Go(func() { server.Serve(ctx, ln) })
	}
	if err := errors.Join(errs...); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// dial connects to a host of that Internet.
func (r *registries) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := dnsx.Dialer{Resolver: r.resolver, Dial: r.service.Dial, Source: r.service.Source}
	return d.DialContext(ctx, network, address)
}

// close ends them all.
func (r *registries) close() {
	r.cancel()
	r.wg.Wait()
	r.resolver.Close()
	r.service.Close()
}

package httpx_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/zocalo-go/zocalo/httpx"
)

// An http.Client sends its requests by a Transport, which tells what it does.
func ExampleTransport() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello")
	}))
	defer server.Close()

	transport := &httpx.Transport{Trace: &httpx.TransportTrace{
		Dialled:  func(d httpx.DialInfo) { fmt.Println("connection", d.Conn) },
		Received: func(x *httpx.Exchange) { fmt.Println(x.Status, "on", x.Conn, "reused", x.Reused) },
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for range 2 {
		resp, err := client.Get(server.URL)
		if err != nil {
			log.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%s %v\n", body, err)
	}
	fmt.Printf("%+v\n", transport.Stats())
	// Output:
	// connection 1
	// 200 on 1 reused false
	// hello <nil>
	// 200 on 1 reused true
	// hello <nil>
	// {Requests:2 Dialled:1 Retried:0 Open:1 Idle:1}
}

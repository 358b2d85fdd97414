package httpx_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"

	"github.com/zocalo-go/zocalo/httpx"
)

// A server and a client, both of this package, on a socket of their own.
func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &httpx.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "You asked for %s.", r.URL.Path)
	})}
	defer server.Close()
	go server.Serve(context.Background(), ln)

	transport := &httpx.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	resp, err := client.Get("http://" + ln.Addr().String() + "/notes")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s: %s %v\n", resp.Status, body, err)
	// Output: 200 OK: You asked for /notes. <nil>
}

// A server prints what it has answered, and what it would not.
func ExampleServer() {
	server := &httpx.Server{
		Handler: http.NotFoundHandler(),
		Trace: &httpx.ServerTrace{
			Answered: func(r *http.Request, status int, _ int64) { fmt.Println(r.Method, r.URL, status) },
			Refused:  func(_ net.Conn, err *httpx.ProtocolError) { fmt.Println(err) },
		},
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(context.Background(), ln)

	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n", "hola\r\n")
	io.Copy(io.Discard, conn) // until the server closes the connection
	server.Close()
	// Output:
	// GET /a 404
	// httpx: the first line is not: method target version (400 Bad Request)
}

// What stands on the wire, and what it means.
func ExampleReadRequest() {
	wire := bufio.NewReader(strings.NewReader("POST /cart?add HTTP/1.1\r\n" +
		"host: shop.example\r\nContent-Length: 7\r\n\r\nshoes=1" + "GET /"))
	r, err := httpx.ReadRequest(wire, &httpx.Limits{MaxBody: 1 << 20})
	if err != nil {
		log.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	fmt.Printf("%s %s at %s: %s %v\n", r.Method, r.URL, r.Host, body, err)

	_, err = httpx.ReadRequest(wire, nil)
	fmt.Println(err)

	_, err = httpx.ReadRequest(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\n\r\n")), nil)
	if refused, ok := errors.AsType[*httpx.ProtocolError](err); ok {
		fmt.Println(refused.Status, refused.Reason)
	}
	// Output:
	// POST /cart?add at shop.example: shoes=1 <nil>
	// unexpected EOF
	// 400 no Host
}

func ExampleWriteRequest() {
	r, err := http.NewRequest("PUT", "http://shop.example/cart", strings.NewReader("shoes=1"))
	if err != nil {
		log.Fatal(err)
	}
	var wire strings.Builder
	w := bufio.NewWriter(&wire)
	if err := httpx.WriteRequest(w, r, false); err != nil {
		log.Fatal(err)
	}
	w.Flush()
	fmt.Printf("%q\n", wire.String())
	// Output: "PUT /cart HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 7\r\n\r\nshoes=1"
}

// Command hello is the web server of the demo image: it says who answers.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

// version is set by the linker, so that two tags of the image differ.
var version = "v1"

func main() {
	listen := flag.String("listen", ":8080", "address to serve")
	flag.Parse()
	name := os.Getenv("POD_NAME")
	if name == "" {
		name, _ = os.Hostname()
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %s from %s", r.Method, r.URL.Path, r.RemoteAddr)
		_, _ = fmt.Fprintf(w, "Hello from %s (%s)\n", name, version)
	})
	http.HandleFunc("/whoami", func(w http.ResponseWriter, r *http.Request) {
		text, err := whoami(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		_, _ = fmt.Fprintln(w, text)
	})
	log.Printf("hello %s serves %s", version, *listen)
	srv := &http.Server{Addr: *listen, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(srv.ListenAndServe())
}

package guests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// raw are the modes that have their own idea of the contract.
var raw = map[string]func(){
	"babble":    func() { fmt.Println("I am not what you think"); time.Sleep(time.Hour) },
	"quit":      func() { fmt.Fprintln(os.Stderr, "no, thank you"); os.Exit(3) },
	"old":       func() { fmt.Println("1|0|unix|" + listenRaw(nil) + "|grpc|"); time.Sleep(time.Hour) },
	"new":       func() { fmt.Println("1|99|unix|" + listenRaw(nil) + "|grpc|"); time.Sleep(time.Hour) },
	"elsewhere": func() { fmt.Println("1|1|tcp|127.0.0.1:1|grpc|"); time.Sleep(time.Hour) },
	"mute": func() {
		fmt.Println("1|1|unix|" + listenRaw(func(net.Conn) {}) + "|grpc|" + certificate().line)
		time.Sleep(time.Hour)
	},
	"noise": func() {
		noise := func(c net.Conn) { _, _ = io.CopyN(c, rand.Reader, 1<<20) }
		fmt.Println("1|1|unix|" + listenRaw(noise) + "|grpc|" + certificate().line)
		time.Sleep(time.Hour)
	},
	"half": func() {
		cert := certificate()
		half := func(c net.Conn) {
			t := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert.pair}, NextProtos: []string{"h2"}, ClientAuth: tls.RequireAnyClientCert})
			// Settings, and then the head of a frame of 16 KiB of which one byte comes.
			_, _ = t.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
			_, _ = t.Write([]byte{0, 0x40, 0, 1, 4, 0, 0, 0, 1, 0x88})
		}
		fmt.Println("1|1|unix|" + listenRaw(half) + "|grpc|" + cert.line)
		time.Sleep(time.Hour)
	},
}

// listenRaw listens where the host looks and leaves each connection to talk.
func listenRaw(talk func(net.Conn)) string {
	path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "raw")
	l, err := net.Listen("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			if talk != nil {
				go talk(c)
			}
		}
	}()
	return path
}

type cert struct {
	pair tls.Certificate
	line string
}

// certificate makes what a handshake has, and what goes with it.
func certificate() cert {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return cert{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, base64.RawStdEncoding.EncodeToString(der)}
}

// nonsensePoint offers a resource type whose hooks answer what nobody has asked.
func nonsensePoint(g *guest) plugin.Point {
	p := resource.Point(g)
	return protocol.NewPoint(p.Name, func(s grpc.ServiceRegistrar, h plugin.Host) {
		var c capture
		p.Register(&c, h)
		honest, ok := c.impl.(pluginv1.ResourceServer)
		if !ok {
			panic(fmt.Sprintf("%T serves resource types", c.impl))
		}
		pluginv1.RegisterResourceServer(s, &nonsense{ResourceServer: honest})
	})
}

// capture takes the server that would be registered.
type capture struct{ impl any }

// RegisterService implements grpc.ServiceRegistrar.
func (c *capture) RegisterService(_ *grpc.ServiceDesc, impl any) { c.impl = impl }

// nonsense tells the truth of its definitions only.
type nonsense struct{ pluginv1.ResourceServer }

// nonsenses are the answers in turn.
func nonsenses(id uint64) []*pluginv1.HooksResponse {
	result := func(r *pluginv1.HookResult) *pluginv1.HooksResponse {
		return &pluginv1.HooksResponse{Results: []*pluginv1.HookResult{r}}
	}
	deep := strings.Repeat(`{"a":`, 100_000)
	reads := &pluginv1.HooksResponse{}
	for i := range 10_000 {
		reads.Reads = append(reads.Reads, &pluginv1.Read{Id: uint64(i), Call: id, Resource: "configmaps", Namespace: loadNamespace, List: true})
	}
	return []*pluginv1.HooksResponse{
		result(&pluginv1.HookResult{Id: id + 1_000_000}),
		result(&pluginv1.HookResult{Id: id, Object: []byte(`{"not": json`)}),
		result(&pluginv1.HookResult{Id: id, Object: []byte(deep)}),
		result(&pluginv1.HookResult{Id: id, Object: []byte(`[1, 2, 3]`)}),
		result(&pluginv1.HookResult{Id: id, Object: []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"other","namespace":"kube-system"}}`)}),
		result(&pluginv1.HookResult{Id: id, Status: []byte(`"`), Response: []byte("}")}),
		result(&pluginv1.HookResult{Id: id, FieldErrors: []*pluginv1.FieldError{{Type: "\xff", Field: strings.Repeat("x", 1<<20), BadValue: []byte("{")}}}),
		reads,
		result(&pluginv1.HookResult{Id: id, Object: fmt.Appendf(nil, `{"spec": {"x": %q}}`, strings.Repeat("y", 40<<20))}),
		result(&pluginv1.HookResult{Id: id, Object: make([]byte, protocol.MaxMessageBytes+1)}),
		{},
	}
}

// Hooks implements pluginv1.ResourceServer.
func (n *nonsense) Hooks(s grpc.BidiStreamingServer[pluginv1.HooksRequest, pluginv1.HooksResponse]) error {
	turn := 0
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		for _, c := range m.GetCalls() {
			all := nonsenses(c.GetId())
			answer := all[turn%len(all)]
			turn++
			if err := s.Send(answer); err != nil {
				return err
			}
		}
	}
}

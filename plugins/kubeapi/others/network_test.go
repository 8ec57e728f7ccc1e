package others

import "testing"

func TestNamesOfIPAddresses(t *testing.T) {
	for name, ok := range map[string]bool{
		"10.0.0.1": true, "fe80::42:1dff:fe84:f9e2": true,
		"10.0.0.01": false, "FE80::1": false, "fe80:0::1": false, "::ffff:10.0.0.1": false, "x": false,
	} {
		if msgs := canonicalIP(name); (len(msgs) == 0) != ok {
			t.Errorf("%s: %v", name, msgs)
		}
	}
}

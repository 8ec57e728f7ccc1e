// Package servicecidrs looks after what cluster IPs come from: it says of ServiceCIDRs that
// they are ready and keeps those that are deleted until no address needs them, and it repairs
// what a crash or a person has left: IPAddresses without a service, services without an
// IPAddress, addresses and node ports that two services have.
//
// It must not give out addresses: the API server does, with the write of a service.
package servicecidrs

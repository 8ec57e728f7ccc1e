module github.com/pintle-dev/pintle/test/clients/process

go 1.26.8

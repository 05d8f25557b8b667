# One image for every daemon of the live network, from the static binaries alone.
# Built by `lnsim nodes image`; the compose file names the program that each container runs.
FROM scratch
COPY lnd lncli btcd /bin/

TRUSTED_PROXIES=$(echo "$TRUSTED_PROXIES" | tr ',' ' ')
export TRUSTED_PROXIES
haproxy -c -q -f /etc/haproxy/haproxy.cfg || exit
# Started last, so that these are among the last lines of a first `docker compose up`.
cat <<EOF
Voicebus answers on port $PUBLIC_PORT.
A token:             docker compose exec -T gateway python -m gateway.token me
Grafana's password:  docker compose exec grafana cat /run/secrets/grafana/password
EOF
exec haproxy -db -f /etc/haproxy/haproxy.cfg

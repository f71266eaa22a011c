-- Every event goes back as it came.
return {
  events = { m = function(client, data) client:emit("m", data) end },
}

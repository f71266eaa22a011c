-- Every frame goes back as it came.
return {
  on_message = function(client, data, kind) client:send(data, kind) end,
}
